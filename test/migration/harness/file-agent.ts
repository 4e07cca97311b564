import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DestinationRest, SourceRest } from '../../../lib/index.js';

/** What more than this is left of the file, the guest shall not stop for. */
const NEAR_BYTES = 2 ** 20;
const COUNT_BYTES = 8;
const IDLE_MS = 5;

async function sha256(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash, { signal });
  return hash.digest('hex');
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path)).size;
}

/** Reads from a connection: a count, or what follows it. */
class Incoming {
  readonly #chunks: AsyncIterator<Buffer>;
  #held = Buffer.alloc(0);

  constructor(channel: Duplex) {
    this.#chunks = channel[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async count(): Promise<number> {
    while (this.#held.length < COUNT_BYTES) this.#held = Buffer.concat([this.#held, await this.#next()]);
    const count = this.#held.readBigUInt64BE();
    this.#held = this.#held.subarray(COUNT_BYTES);
    return Number(count);
  }

  /** Some more bytes, at least one. */
  async bytes(): Promise<Buffer> {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return held.length > 0 ? held : await this.#next();
  }

  async #next(): Promise<Buffer> {
    const next = await this.#chunks.next();
    if (next.done === true) throw new Error('the connection has ended');
    return next.value;
  }
}

function encodeCount(count: number): Buffer {
  const bytes = Buffer.alloc(COUNT_BYTES);
  bytes.writeBigUInt64BE(BigInt(count));
  return bytes;
}

async function untilEqual(value: () => number, wanted: number, signal: AbortSignal): Promise<void> {
  while (value() !== wanted) await sleep(IDLE_MS, undefined, { signal });
}

/**
 * Sends a file to which its guest appends, round after round. In each the destination says how many bytes it has, takes
 * what follows, and says it again. A connection that breaks costs no more than its round.
 */
export class FileSource {
  /** Aborts once no round has gone well for long: nothing else ends a migration whose rest stays far. */
  readonly lost: AbortSignal;
  readonly #path: string;
  readonly #dial: () => Promise<Duplex>;
  readonly #end = new AbortController();
  readonly #rounds: Promise<void>;
  #confirmed = 0;

  constructor(path: string, dial: () => Promise<Duplex>, lostAfterMs: number) {
    const lost = new AbortController();
    this.#path = path;
    this.#dial = dial;
    this.lost = lost.signal;
    this.#rounds = this.#send(lostAfterMs, lost);
  }

  readonly rest: SourceRest = {
    stopMs: async () => ((await sizeOf(this.#path)) - this.#confirmed > NEAR_BYTES ? Infinity : 1),
    finish: async ({ signal }) => {
      const size = await sizeOf(this.#path);
      await untilEqual(() => this.#confirmed, size, signal);
      return Buffer.from(JSON.stringify({ size, digest: await sha256(this.#path, signal) }));
    },
  };

  async close(): Promise<void> {
    this.#end.abort();
    await this.#rounds;
  }

  async #send(lostAfterMs: number, lost: AbortController): Promise<void> {
    let well = performance.now();
    while (!this.#end.signal.aborted) {
      try {
        await this.#round(await this.#dial());
        well = performance.now();
      } catch (cause) {
        const error = new Error(`no round of the file went well for ${lostAfterMs} ms`, { cause });
        if (performance.now() - well > lostAfterMs) lost.abort(error);
      }
      await sleep(IDLE_MS);
    }
  }

  async #round(channel: Duplex): Promise<void> {
    const incoming = new Incoming(channel);
    const { signal } = this.#end;
    const stop = (): void => {
      channel.destroy(signal.reason as Error);
    };
    signal.addEventListener('abort', stop);
    try {
      signal.throwIfAborted();
      const start = await incoming.count();
      const size = await sizeOf(this.#path);
      channel.write(encodeCount(size));
      if (size > start)
        await pipeline(createReadStream(this.#path, { start, end: size - 1 }), channel, { end: false });
      this.#confirmed = await incoming.count();
    } finally {
      signal.removeEventListener('abort', stop);
      channel.destroy();
    }
  }
}

/** Takes such a file, round after round; then, or when it is thrown away, no more. */
export class FileDestination {
  readonly #path: string;
  readonly #runGuest: () => Promise<void>;
  #rounds = Promise.resolve();
  #channel: Duplex | undefined;
  #over = false;
  #bytes = 0;

  /** @param path of no file yet */
  constructor(path: string, runGuest: () => Promise<void>) {
    this.#path = path;
    this.#runGuest = runGuest;
  }

  /** Takes the next connection of the source: the one before is of no use any more. */
  take(channel: Duplex): void {
    channel.on('error', () => undefined);
    this.#channel?.destroy();
    this.#channel = channel;
    this.#rounds = this.#rounds
      .then(() => this.#round(channel))
      .catch(() => undefined)
      .finally(() => channel.destroy());
  }

  readonly rest: DestinationRest = {
    accept: async (state, { signal }) => {
      const { size, digest } = JSON.parse(Buffer.from(state).toString()) as { size: number; digest: string };
      await untilEqual(() => this.#bytes, size, signal);
      const arrived = await sha256(this.#path, signal);
      if (arrived !== digest) throw new Error(`the file has SHA-256 ${arrived}, and should have ${digest}`);
      await using file = await open(this.#path, 'r+');
      await file.sync();
    },
    discard: async () => {
      await this.#end();
      await rm(this.#path, { force: true });
    },
    run: async () => {
      await this.#end();
      await this.#runGuest();
    },
  };

  async #end(): Promise<void> {
    this.#over = true;
    this.#channel?.destroy();
    await this.#rounds;
  }

  async #round(channel: Duplex): Promise<void> {
    if (this.#over) return;
    await using file = await open(this.#path, 'a');
    this.#bytes = (await file.stat()).size;
    const incoming = new Incoming(channel);
    channel.write(encodeCount(this.#bytes));
    const size = await incoming.count();
    while (this.#bytes < size) {
      const chunk = await incoming.bytes();
      await file.appendFile(chunk);
      this.#bytes += chunk.length;
    }
    channel.end(encodeCount(this.#bytes));
    await finished(channel);
  }
}
