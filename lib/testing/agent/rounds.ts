import { SparseBitmap } from '../../hpt/bitmap.js';
import type { AgentMemory } from './guest.js';
import { encodePages, type MemoryLink, ZEROS } from './wire.js';

/** How far a round is. */
export interface MemoryProgress {
  /** Number of the round, from 1. */
  readonly round: number;
  /** The guest may run. */
  readonly live: boolean;
  /** Pages owed when the round began, and those sent; `zeroPages` of them are all zeros and cost nothing. */
  readonly pages: number;
  readonly sentPages: number;
  readonly zeroPages: number;
  /** Contents sent. */
  readonly bytes: number;
  readonly durationMs: number;
  /** The destination has confirmed the round. */
  readonly complete: boolean;
}

/** Called after every frame of a round, and once the destination has confirmed it. */
export type OnRound = (progress: MemoryProgress) => void;

type Sent = Record<'sentPages' | 'zeroPages' | 'bytes', number>;

/** Rounds over a guest's memory: each sends what has been stored to since it was sent last. */
export class MemoryRounds {
  readonly #memory: AgentMemory;
  readonly #onProgress: OnRound | undefined;
  /** Pages to send. The dirty log gives a page once: from then on it is known here only. */
  readonly #owed: SparseBitmap;
  /** Pages that have been sent, and not been confirmed. */
  readonly #inFlight: SparseBitmap;
  /** One log is taken after the other: a round that begins has what every earlier one took. */
  #logging: Promise<void> = Promise.resolve();
  #rounds = 0;
  // Of the fastest of the confirmed rounds: what goes on beside one only makes it slower.
  #msPerByte = Infinity;
  #confirmMs = Infinity;

  constructor(memory: AgentMemory, onProgress?: OnRound) {
    const pages = memory.bytes / memory.pageBytes;
    this.#memory = memory;
    this.#onProgress = onProgress;
    this.#owed = new SparseBitmap(pages);
    this.#inFlight = new SparseBitmap(pages);
  }

  /** What was in flight over another connection is owed again; or everything is. */
  reconnected(everything: boolean): void {
    if (everything) this.#owed.addRange(0, this.#owed.size);
    for (let page = -1; (page = this.#inFlight.next(page + 1)) < this.#owed.size;) this.#owed.add(page);
    this.#inFlight.clear();
  }

  /**
   * How long the guest would stand still for its memory if it were stopped now: for all pages that the dirty log has had up
   * to here, as fast as the destination has taken any round; Infinity before there is a measure. The first round is none: it
   * goes beside the first pass over the table, and through code that has not run before.
   */
  async stopMs(): Promise<number> {
    await this.#takeLog();
    const owedBytes = this.#owed.count * this.#memory.pageBytes;
    return this.#confirmMs + (owedBytes === 0 ? 0 : owedBytes * this.#msPerByte);
  }

  /**
   * Sends one round, and waits until it is confirmed.
   *
   * @param live the guest may run
   * @param cut ends the round before its next frame; what has not been sent stays owed
   * @returns digest of the connection up to here
   * @throws the reason of `cut`
   */
  async send(link: MemoryLink, live: boolean, cut: AbortSignal): Promise<string> {
    await this.#takeLog();
    const [owed, begun] = [this.#owed, performance.now()];
    const sent = { sentPages: 0, zeroPages: 0, bytes: 0 };
    const round = { round: ++this.#rounds, live, pages: owed.count };
    const tell = (complete: boolean): void =>
      this.#onProgress?.({ ...round, ...sent, durationMs: performance.now() - begun, complete });
    for (let page = owed.next(0), end; page < owed.size; page = owed.next(end)) {
      cut.throwIfAborted();
      const limit = page + ZEROS.length / this.#memory.pageBytes;
      for (end = page + 1; end < limit && owed.has(end);) end++;
      await this.#sendRun(link, page, end, sent);
      tell(false);
    }
    const sentAt = performance.now();
    await link.tell('round', {});
    const { digest } = link;
    await link.expect('applied');
    this.#inFlight.clear();
    const now = performance.now();
    if (sent.bytes > 0) this.#msPerByte = Math.min(this.#msPerByte, (now - begun) / sent.bytes);
    if (this.#rounds > 1) this.#confirmMs = Math.min(this.#confirmMs, now - sentAt);
    tell(true);
    return digest;
  }

  #takeLog(): Promise<void> {
    return (this.#logging = this.#logging.then(async () => {
      for (const [index, byte] of (await this.#memory.dirtyLog()).entries())
        for (let bit = 0; byte >> bit > 0; bit++) if ((byte >> bit) & 1) this.#owed.add(index * 8 + bit);
    }));
  }

  /** Sends the pages from `first` up to but without `end`. */
  async #sendRun(link: MemoryLink, first: number, end: number, sent: Sent): Promise<void> {
    const { pageBytes } = this.#memory;
    // Before they are read: what is stored to meanwhile is owed again.
    this.#owed.deleteRange(first, end);
    this.#inFlight.addRange(first, end);
    const contents = Buffer.allocUnsafe((end - first) * pageBytes);
    await this.#memory.read(first * pageBytes, contents);
    const isZero = (at: number): boolean => ZEROS.compare(contents, at, at + pageBytes, 0, pageBytes) === 0;
    for (let at = 0, next; at < contents.length; at = next) {
      const zero = isZero(at);
      for (next = at + pageBytes; next < contents.length && isZero(next) === zero;) next += pageBytes;
      const part = contents.subarray(at, zero ? at : next);
      await link.send('pages', encodePages(first * pageBytes + at, next - at, part));
      sent.sentPages += (next - at) / pageBytes;
      sent.zeroPages += zero ? (next - at) / pageBytes : 0;
      sent.bytes += part.length;
    }
  }
}
