import { HtabStateError } from '../base/errors.js';
import { within } from '../base/time.js';
import type { HptReader } from '../io/reader.js';
import type { OpenFresh } from '../io/fresh-look.js';
import { recheckTable } from '../io/recheck.js';
import type { GuestControl } from '../precopy/guest-control.js';
import type { PassProgress } from '../precopy/pass-progress.js';
import type { PassCounts } from '../records/pass-counter.js';
import type { HtabVm } from '../vm/contract.js';
import type { PassLimits, SaveOptions } from './save-options.js';
import type { SnapshotWriter } from './writer.js';

/** Passes over a guest that was paused, until nothing is left; two were always enough on real hosts. */
const MAX_STOPPED_PASSES = 16;

/** How the passes ended. */
interface Saved {
  readonly quiescent: boolean;
  readonly sourceRechecked: boolean;
  /** Undefined if the guest was not paused. */
  readonly stopMs: number | undefined;
}

/** Makes the passes of one snapshot. */
export class PassSaver {
  readonly #reader: HptReader;
  readonly #writer: SnapshotWriter;
  readonly #options: SaveOptions;
  readonly #fresh: HtabVm | OpenFresh | undefined;
  #passes = 0;
  /** Entries the last pass found changed; undefined before the second is complete. */
  #changing: number | undefined;

  constructor(
    reader: HptReader,
    writer: SnapshotWriter,
    options: SaveOptions,
    fresh: HtabVm | OpenFresh | undefined,
  ) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
    this.#fresh = fresh;
  }

  async run(
    { maxPasses, maxChangedEntries, stopLimitMs }: PassLimits,
    control: GuestControl | undefined,
  ): Promise<Saved> {
    const { signal } = this.#options;
    if (control === undefined) return { ...(await this.#rest(maxPasses)), stopMs: undefined };

    do await this.#pass(true);
    while (this.#passes < maxPasses && (this.#changing ?? Infinity) > maxChangedEntries);
    let rest: Omit<Saved, 'stopMs'>;
    try {
      await control.pause(signal);
      // The guest does not wait for a disk or a kernel that hangs; the passes go on until their descriptors are closed.
      rest = await within(this.#rest(MAX_STOPPED_PASSES), stopLimitMs, signal, () =>
        this.#stoppedTooLong(stopLimitMs),
      );
    } catch (error) {
      await control.resume(error);
      throw error;
    }
    const stopMs = control.stoppedMs;
    await control.resume();
    return { ...rest, stopMs };
  }

  #stoppedTooLong(stopLimitMs: number): HtabStateError {
    return new HtabStateError(
      'busy',
      `the guest reached its stop limit of ${stopLimitMs} ms in pass ${this.#passes + 1}; ` +
        'save to a faster disk, or allow more',
      { option: 'stopLimitMs' },
    );
  }

  /** What is left of the table of a guest that stands still; of one that still changes, fresh descriptors prove nothing. */
  async #rest(maxPasses: number): Promise<Omit<Saved, 'stopMs'>> {
    const quiescent = await this.#untilQuiescent(maxPasses);
    const sourceRechecked = quiescent && this.#fresh !== undefined;
    if (sourceRechecked) {
      await recheckTable(this.#writer.fold.table, this.#fresh, { signal: this.#options.signal });
    }
    return { quiescent, sourceRechecked };
  }

  /** Makes passes until one finds no change; false if none of `maxPasses` does, and that is allowed. */
  async #untilQuiescent(maxPasses: number): Promise<boolean> {
    for (let passes = 0; passes < maxPasses; passes++) {
      await this.#pass(false);
      if (this.#reader.quiescent) return true;
    }
    if (this.#options.allowChanging === true) return false;
    throw new HtabStateError(
      'busy',
      `the table still changes after ${this.#passes} passes: the guest runs, or something else writes to its table`,
    );
  }

  async #pass(live: boolean): Promise<void> {
    const { signal } = this.#options;
    const writer = this.#writer;
    const { fold } = writer;
    const begun = performance.now();
    for await (const records of this.#reader.pass({ signal })) {
      await writer.add(records);
      this.#report(
        { live, complete: false, scanned: fold.reached / fold.table.entryCount },
        fold.counts,
        begun,
      );
    }
    const counts = await writer.endPass();
    if (this.#passes > 0) this.#changing = counts.validEntries + counts.invalidEntries;
    this.#report({ live, complete: true, scanned: 1 }, counts, begun);
    this.#passes++;
  }

  #report(
    state: Pick<PassProgress, 'live' | 'complete' | 'scanned'>,
    { validEntries, invalidEntries, bytes }: PassCounts,
    begun: number,
  ): void {
    const durationMs = performance.now() - begun;
    this.#options.onProgress?.({
      pass: this.#passes + 1,
      ...state,
      // The first pass gives every entry there could be; later ones what the guest has removed.
      entries: validEntries + (this.#passes === 0 ? 0 : invalidEntries),
      bytes,
      bytesPerSecond: durationMs === 0 ? 0 : (bytes / durationMs) * 1000,
      changingEntries: this.#changing,
    });
  }
}
