import type { Duplex } from 'node:stream';
import type { HtabError } from '../../base/errors.js';
import { tryBriefly, within } from '../../base/time.js';
import { inDoubtError, migrationError } from '../../migration/errors.js';
import type { MigrationSource } from './migration-finder.js';
import { ReturnPath } from './return-path.js';
import type { StreamWatch } from './watch.js';

const ASK_BOTH = 'ask both QEMUs (query-status) which of them has the guest before you let it run';

/** Two QEMUs, and what goes from one to the other. */
export class Link {
  readonly returnPath = new ReturnPath();
  readonly #source: Duplex;
  readonly #head: Buffer;
  readonly #target: Duplex;
  readonly #watch: StreamWatch;
  readonly #onPassed: () => void;
  /** The destination may have all of the guest: from here on, ending a connection could leave it running on both sides. */
  #handedOver = false;
  #sourceEnded = false;
  /** The source has been told that the destination has the guest. */
  #sourceTold = false;
  /** What has been written to the destination may not have reached it. */
  #targetLost = false;

  get handedOver(): boolean {
    return this.#handedOver;
  }

  /** @param onPassed called at the beginning, and after each chunk of the source */
  constructor({ socket, head }: MigrationSource, target: Duplex, watch: StreamWatch, onPassed: () => void) {
    this.#source = socket;
    this.#head = head;
    this.#target = target;
    this.#watch = watch;
    this.#onPassed = onPassed;
  }

  /**
   * Passes a migration on, until both ends have closed.
   *
   * @param signal ends it, unless the destination may have all of the guest: then QEMU decides
   * @throws HtabError; both connections have ended then, and the guest is the source's unless the error is in doubt
   */
  async run(signal: AbortSignal): Promise<void> {
    for (const socket of [this.#source, this.#target]) {
      socket.on('error', () => undefined);
      // Each direction ends by itself: one side may have more to say to the other.
      socket.allowHalfOpen = true;
    }
    const forward = this.#forward();
    const backward = this.#backward();
    // A source that does not close is not waited for once the destination has closed.
    const closed = backward.then(() => tryBriefly(() => forward));
    const over = new AbortController();
    const abort = (): void => {
      if (!this.#handedOver) over.abort(signal.reason);
    };
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    try {
      const ended = Promise.race([Promise.all([forward, backward]), closed]);
      await within(ended, Infinity, over.signal, () => undefined);
    } finally {
      // A signal keeps what listens to it for as long as it lives.
      signal.removeEventListener('abort', abort);
      this.#source.destroy();
      this.#target.destroy();
    }
  }

  async #forward(): Promise<void> {
    this.#onPassed();
    await this.#pass(this.#head);
    const cause = await eachChunk(this.#source, (chunk) => this.#pass(chunk));
    this.#sourceEnded = true;
    // A source that has sent all may end in any way.
    if (cause !== undefined && !this.#handedOver) throw this.#watch.sourceGone(cause);
    this.#finish();
    this.#handedOver = true;
    this.#target.end();
  }

  #finish(): void {
    try {
      this.#watch.finish();
    } catch (error) {
      if (!this.#handedOver) throw this.#watch.sourceGone(error);
      // The destination does not need what comes after the sections.
      if (this.returnPath.shut !== 0)
        throw inDoubtError('the source ended within the end of the stream', ASK_BOTH, error);
      this.#watch.setUnreadable(error as Error);
    }
  }

  /** Passes bytes on once they have been read. */
  async #pass(chunk: Buffer): Promise<void> {
    this.#read(chunk);
    if (this.#watch.whole) this.#handedOver = true;
    if (!(await write(this.#target, chunk))) {
      if (!this.#handedOver) throw this.#targetGone();
      this.#targetLost = true;
    }
    this.#onPassed();
  }

  /** @throws HtabError if the chunk may not go on */
  #read(chunk: Buffer): void {
    const { whole } = this.#watch;
    try {
      this.#watch.take(chunk);
    } catch (error) {
      // With what has gone on before, the destination may run the guest, whatever follows.
      if (!whole) throw error;
      this.#watch.setUnreadable(error as Error);
    }
  }

  async #backward(): Promise<void> {
    const cause = await eachChunk(this.#target, async (chunk) => {
      this.returnPath.take(chunk);
      if (this.returnPath.shut !== 0) {
        await write(this.#source, chunk);
        return;
      }
      this.#handedOver = true;
      const isLate = this.#sourceEnded;
      if (await deliver(this.#source, chunk)) this.#sourceTold ||= !isLate;
    });
    if (!this.#handedOver) throw this.#targetGone(cause);
    this.#checkAnswer(cause);
    this.#source.end();
  }

  /**
   * The destination has ended after all has gone to it.
   *
   * @param cause why its connection broke; undefined if it ended as it should
   */
  #checkAnswer(cause: unknown): void {
    const { shut } = this.returnPath;
    if (shut === 0) {
      if (this.#sourceTold) return;
      // A source that waits for that word, and loses its connection, lets its guest run again.
      throw inDoubtError(
        'the destination has the guest, and the source had gone before it was told',
        ASK_BOTH,
      );
    }
    if (shut !== undefined) {
      throw migrationError(`the destination could not load the guest (it said ${shut}); look at its log`);
    }
    if (this.#watch.returnPath) {
      // QEMU lets the guest run before it says that it has it.
      throw inDoubtError(
        'the destination ended without a word that it has loaded the guest',
        ASK_BOTH,
        cause,
      );
    }
    if (cause === undefined && !this.#targetLost) return;
    const message =
      'the connection to the destination broke after all had gone on, and it had no return path';
    throw inDoubtError(message, ASK_BOTH, cause);
  }

  #targetGone(cause?: unknown): HtabError {
    const { offset } = this.#watch.parser;
    return migrationError(`the destination ended the migration at byte ${offset}; look at its log`, cause);
  }
}

/**
 * Takes what a connection sends, until it ends.
 *
 * @returns why it broke; undefined if it ended as it should
 */
async function eachChunk(socket: Duplex, take: (chunk: Buffer) => Promise<void>): Promise<unknown> {
  const chunks = (socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)[
    Symbol.asyncIterator
  ]();
  for (;;) {
    let next: IteratorResult<Buffer, unknown>;
    try {
      next = await chunks.next();
    } catch (error) {
      return error;
    }
    if (next.done === true) return undefined;
    await take(next.value);
  }
}

/**
 * Writes, and waits until there is room for more.
 *
 * @returns false if the connection has gone
 */
async function write(to: Duplex, chunk: Buffer): Promise<boolean> {
  if (!to.writable) return false;
  if (to.write(chunk)) return true;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      to.off('drain', done).off('close', done);
      resolve();
    };
    to.on('drain', done).on('close', done);
  });
  return to.writable;
}

/**
 * Writes, and waits until the system has taken it.
 *
 * @returns false if the connection has gone
 */
function deliver(to: Duplex, chunk: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    // It is called in any case, also for a connection that has been destroyed.
    to.write(chunk, (error) => {
      resolve(error === null || error === undefined);
    });
  });
}
