import { Duplex } from 'node:stream';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { DestinationRest, SourceRest } from '../../lib/migration/rest.js';
import { sendHpt, type SendOptions } from '../../lib/migration/source/send.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { linkStreams } from '../migration/harness/linked-streams.js';
import type { Frames } from './frame-mutations.js';

export const ORDER = 18;
export const MIGRATION_ID = 'the-one';

const H_REMOVE = 0x04;
const H_ENTER = 0x08;
const EXACT = 1n << 39n;

/** A guest with a table of so many entries, which makes one change as it is stopped, and can take it back. */
export class QuietGuest {
  readonly vm = new EmulatedVm({ host: 'power8' });
  runs = true;
  readonly #entries: number;

  static async with(entries: number): Promise<QuietGuest> {
    const guest = new QuietGuest(entries);
    await guest.vm.allocateHpt(ORDER);
    for (let k = 0; k < entries; k++) guest.#enter(k * 5);
    return guest;
  }

  private constructor(entries: number) {
    this.#entries = entries;
  }

  /** For a migration of this guest: two passes while it runs, then the stop, however long it is predicted to be. */
  get options(): SendOptions {
    return {
      migrationId: MIGRATION_ID,
      frameBytes: 4096,
      downtimeMs: 0,
      maxPasses: 2,
      pause: () => {
        this.runs = false;
        this.#enter(this.#entries * 5);
        return Promise.resolve();
      },
      resume: () => {
        this.runs = true;
        this.#remove(this.#entries * 5);
        return Promise.resolve();
      },
    };
  }

  #enter(ptex: number): void {
    const entry = BigInt(ptex);
    this.vm.hcall(H_ENTER, [EXACT, entry, 0x11n | (entry << 12n), 0x190n | (entry << 12n)]);
  }

  #remove(ptex: number): void {
    this.vm.hcall(H_REMOVE, [0n, BigInt(ptex), 0n]);
  }
}

/** What both sides said in a migration that went well. */
export interface Conversation {
  readonly guest: QuietGuest;
  /** With all else of the guest, or of its table alone. */
  readonly whole: boolean;
  readonly digest: string;
  readonly fromSource: Frames;
  readonly fromDestination: Frames;
  /** How many frames the source had said before the destination said its next one. */
  readonly turns: readonly number[];
}

/** The rest of a quiet guest; the destination's keeps what has become of it. */
export const REST: SourceRest = { stopMs: () => 0, finish: () => Promise.resolve(Buffer.from('registers')) };

export class QuietRest implements DestinationRest {
  readonly calls: string[] = [];
  state = '';
  readonly accept = (state: Uint8Array): Promise<void> => {
    this.state = Buffer.from(state).toString();
    return this.#called('accept');
  };
  readonly discard = (): Promise<void> => this.#called('discard');
  readonly run = (): Promise<void> => this.#called('run');

  #called(name: string): Promise<void> {
    this.calls.push(name);
    return Promise.resolve();
  }
}

export async function record(entries: number, whole = false): Promise<Conversation> {
  const guest = await QuietGuest.with(entries);
  const fromSource: Buffer[] = [];
  const fromDestination: Buffer[] = [];
  const turns: number[] = [];
  const [ours, theirs] = linkStreams(
    frameTap((frame) => fromSource.push(frame)),
    frameTap((frame) => {
      fromDestination.push(frame);
      turns.push(fromSource.length);
    }),
  );
  const [sent] = await Promise.all([
    sendHpt(guest.vm, ours, { ...guest.options, rest: whole ? REST : undefined }),
    receiveHpt(new EmulatedVm({ host: 'power8' }), theirs, { rest: whole ? new QuietRest() : undefined }),
  ]);
  await guest.options.resume!();
  return { guest, whole, digest: sent.digest(), fromSource, fromDestination, turns };
}

function frameTap(seen: (frame: Buffer) => void) {
  const cut = frameCutter(seen);
  return (bytes: Buffer) => {
    cut(bytes);
    return { bytes };
  };
}

/** Cuts bytes into frames, however they come. */
export function frameCutter(seen: (frame: Buffer) => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    while (rest.length >= 16 && rest.length >= 16 + rest.readUInt32BE(4)) {
      const length = 16 + rest.readUInt32BE(4);
      seen(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  };
}

/**
 * A peer that says what stands in its script, whatever it hears: each frame in its turn, or, once nothing goes on any
 * more, out of it; and then hangs up.
 */
export class ScriptedPeer extends Duplex {
  readonly #frames: Frames;
  readonly #turns: readonly number[];
  readonly #cut = frameCutter((frame) => {
    this.heard.push(frame[2]!);
  });
  #said = 0;
  #over = false;
  /** Types of the frames it has heard. */
  readonly heard: number[] = [];

  /** @param turns per frame, the number of frames to be heard before it; none: everything is said at once */
  constructor(frames: Frames, turns: readonly number[] = []) {
    super({ autoDestroy: true });
    this.#frames = frames;
    this.#turns = turns;
    this.#say();
    if (turns.length === 0) this.goOn();
  }

  /** Whether it has said anything that might be a frame of this type. */
  said(type: number): boolean {
    return this.#frames.slice(0, this.#said).some((frame) => frame[2] === type);
  }

  /** Says what is next, though it is not its turn; at the end, hangs up. */
  goOn(): void {
    if (this.#over) return;
    const frame = this.#frames[this.#said++];
    if (frame !== undefined) {
      if (frame.length > 0) this.push(frame);
      this.#say();
      return;
    }
    this.#over = true;
    this.push(null);
  }

  override _read(): void {
    // Everything is said as soon as it may be.
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#cut(chunk);
    this.#say();
    callback();
  }

  override _final(callback: () => void): void {
    if (!this.#over) this.push(null);
    this.#over = true;
    callback();
  }

  #say(): void {
    const last = this.#turns.at(-1) ?? 0;
    while (
      !this.#over &&
      this.#said < this.#frames.length &&
      (this.#turns[this.#said] ?? last) <= this.heard.length
    ) {
      const frame = this.#frames[this.#said++]!;
      if (frame.length > 0) this.push(frame);
    }
  }
}

/** So many turns of the event loop without an end are a hang: within one process, one is enough for all that is not a timer. */
const MAX_IDLE_TURNS = 1000;

/**
 * Lets both sides go on until this one is done. Time does not pass meanwhile.
 *
 * @param goOn called whenever nothing goes on any more
 */
export async function settle<T>(promise: Promise<T>, goOn: () => void): Promise<PromiseSettledResult<T>> {
  let result: PromiseSettledResult<T> | undefined;
  void Promise.allSettled([promise]).then(([settled]) => (result = settled));
  for (let turn = 0; result === undefined; turn++) {
    if (turn > MAX_IDLE_TURNS) throw new Error('it hangs');
    if (turn > 0) goOn();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return result;
}
