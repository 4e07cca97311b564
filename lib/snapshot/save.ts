import { outOfRange } from '../arguments.js';
import { HtabStateError } from '../errors.js';
import { HptReader } from '../io/reader.js';
import { streamOrder } from '../io/stream-order.js';
import type { BackendName, HtabHandle, HtabVm } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';
import { within } from '../node/waiting.js';
import { AtomicFile } from './atomic-file.js';
import { MAX_RECORDS_BYTES, type SnapshotInfo } from './layout.js';
import { SnapshotWriter } from './writer.js';

/** Stops a guest and lets it run again. Neither may take longer than `guestTimeoutMs`. */
export interface GuestControl {
  /** Once it has resolved, no vcpu runs and nothing else changes the table. */
  readonly pause: () => Promise<void>;
  readonly resume: () => Promise<void>;
}

/** How far a snapshot has come. */
export interface SaveProgress {
  /** Number of the pass, from 1. */
  readonly pass: number;
  /** Whether the guest may run. */
  readonly live: boolean;
  /** Whether all of the pass is in the file. */
  readonly complete: boolean;
  /** Part of the table this pass has walked over, 0..1. */
  readonly scanned: number;
  /** Entries this pass has found: valid ones, and from the second pass on removed ones too. */
  readonly entries: number;
  /** Record bytes this pass has written. */
  readonly bytes: number;
  /** Rate of this pass. */
  readonly bytesPerSecond: number;
  /** Entries the last complete pass found changed; undefined until a second pass is complete. */
  readonly changingEntries: number | undefined;
}

export interface SaveOptions {
  /** log2 of the table's bytes, 18..36; needed where the source does not know it, as a descriptor never does. */
  readonly order?: number;
  /** Kind of VM a given descriptor is of. Default `kvm`; a VM says so itself. */
  readonly backend?: BackendName;
  /** Processor of the host, where it is known: a POWER9 host cannot hold every entry of a POWER8 one. */
  readonly host?: HostModel;
  /** How to stop the guest, if it runs. Without it the guest is taken to stand still. */
  readonly guest?: GuestControl;
  /** Longest time one call of `pause` or `resume` may take, in ms, 1..2^31 - 1; default 30,000. */
  readonly guestTimeoutMs?: number;
  /** Passes while the guest runs, or until a guest that stands still is known to: 1..2^31 - 1; default 16. */
  readonly maxPasses?: number;
  /** The guest is paused after a pass that found no more entries changed than this; default 256. */
  readonly maxChangedEntries?: number;
  /**
   * Keep the snapshot even if the table still changed during the last pass: a mixture of moments, to look at and not to
   * load (see `quiescent`). Default false.
   */
  readonly allowChanging?: boolean;
  readonly signal?: AbortSignal;
  /** Called after every frame of records and at the end of every pass. */
  readonly onProgress?: (progress: SaveProgress) => void;
}

/** A snapshot that is on the disk. */
export interface SaveReport extends SnapshotInfo {
  /** From the call of `pause` until that of `resume`; undefined if the guest was not paused. */
  readonly stopMs: number | undefined;
}

/** Passes over a guest that was paused, until nothing is left; two were always enough on real hosts. */
const MAX_STOPPED_PASSES = 16;

/**
 * Saves a table to a file, pass by pass: while the guest runs until few entries change, then, with the guest paused,
 * what is left. The guest runs on before the file is complete.
 *
 * The file appears under its name only when all of it is on the disk; until then, and after any failure, the name is
 * what it was before. Only its owner may read it. Memory: the table and 2 MiB.
 *
 * @param source a VM, or a read descriptor that has not been read from; a descriptor is closed at the end
 * @param path of the file; a regular file of this name is replaced
 * @throws TypeError without the table's order, for a handle open for writing, or a path that is not a file's
 * @throws RangeError for options out of range
 * @throws HtabStateError `busy` if the table still changes and nothing allows it, or `pause` or `resume` does not settle in
 *   time; `lost` if the first pass does not give
 *   the whole table; and as {@link HptReader} says, `order-changed` among them
 * @throws HtabSystemError for what the kernel refuses: a descriptor, or the file (a full disk, say)
 * @throws the signal's reason, or what `pause` or `resume` rejects with; `resume` is called once `pause` was
 */
export async function saveSnapshot(
  source: HtabVm | HtabHandle,
  path: string,
  options: SaveOptions = {},
): Promise<SaveReport> {
  const limits = checkLimits(options);
  const isVm = 'openHtab' in source;
  const order = isVm ? streamOrder(source, options.order) : options.order;
  if (order === undefined) {
    throw Object.assign(
      new TypeError('The "order" option is needed: the source does not tell its table\'s order'),
      {
        code: 'ERR_INVALID_ARG_VALUE',
      },
    );
  }
  const { signal, host = null } = options;
  signal?.throwIfAborted();
  const backend = isVm ? source.backend : (options.backend ?? 'kvm');
  const readerOptions = { order, bufferBytes: MAX_RECORDS_BYTES, ...(signal && { signal }) };
  await using reader = isVm
    ? await HptReader.open(source, readerOptions)
    : new HptReader(source, readerOptions);

  const file = await AtomicFile.create(path);
  try {
    const writer = new SnapshotWriter(file, { order, headerByteOrder: 'LE', backend, host });
    await writer.begin();
    const { quiescent, stopMs } = await new PassSaver(reader, writer, options).run(limits);
    const info = await writer.end(quiescent);
    await file.commit();
    return { ...info, stopMs };
  } finally {
    await file.discard();
  }
}

type PassLimits = Required<Pick<SaveOptions, 'maxPasses' | 'maxChangedEntries' | 'guestTimeoutMs'>>;

function checkLimits(options: SaveOptions): PassLimits {
  const { maxPasses = 16, maxChangedEntries = 256, guestTimeoutMs = 30_000 } = options;
  checkLimit('maxPasses', maxPasses, 1, 2 ** 31 - 1);
  checkLimit('maxChangedEntries', maxChangedEntries, 0, 2 ** 32);
  checkLimit('guestTimeoutMs', guestTimeoutMs, 1, 2 ** 31 - 1);
  return { maxPasses, maxChangedEntries, guestTimeoutMs };
}

function checkLimit(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw outOfRange(name, `an integer in ${min}..${max}`, value);
  }
}

function notSettled(call: string, timeoutMs: number, state: string): () => Error {
  return () => new HtabStateError('busy', `${call} has not settled within ${timeoutMs} ms: ${state}`);
}

/** Makes the passes of one snapshot. */
class PassSaver {
  readonly #reader: HptReader;
  readonly #writer: SnapshotWriter;
  readonly #options: SaveOptions;
  #passes = 0;
  /** Entries the last pass found changed; undefined before the second is complete. */
  #changing: number | undefined;

  constructor(reader: HptReader, writer: SnapshotWriter, options: SaveOptions) {
    this.#reader = reader;
    this.#writer = writer;
    this.#options = options;
  }

  async run({
    maxPasses,
    maxChangedEntries,
    guestTimeoutMs,
  }: PassLimits): Promise<{ quiescent: boolean; stopMs: number | undefined }> {
    const { guest, signal } = this.#options;
    if (guest === undefined) return { quiescent: await this.#untilQuiescent(maxPasses), stopMs: undefined };

    do await this.#pass(true);
    while (this.#passes < maxPasses && (this.#changing ?? Infinity) > maxChangedEntries);
    const stopped = performance.now();
    let stopMs = 0;
    let quiescent = false;
    try {
      const pauseLate = notSettled('pause', guestTimeoutMs, 'the guest is told to run, but may still stop');
      await within(guest.pause(), guestTimeoutMs, signal, pauseLate);
      quiescent = await this.#untilQuiescent(MAX_STOPPED_PASSES);
    } finally {
      stopMs = performance.now() - stopped;
      const resumeLate = notSettled('resume', guestTimeoutMs, 'the guest may stand still');
      await within(guest.resume(), guestTimeoutMs, undefined, resumeLate);
    }
    return { quiescent, stopMs };
  }

  /** Makes passes until one finds nothing anywhere; false if there is none among so many, and that is allowed. */
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
    const begun = performance.now();
    for await (const records of this.#reader.pass(signal === undefined ? {} : { signal })) {
      await writer.add(records);
      this.#tell(
        { live, complete: false, scanned: writer.reached / writer.table.entryCount },
        writer.counts,
        begun,
      );
    }
    const counts = await writer.endPass();
    if (this.#passes > 0) this.#changing = counts.validEntries + counts.invalidEntries;
    this.#tell({ live, complete: true, scanned: 1 }, counts, begun);
    this.#passes++;
  }

  #tell(
    state: Pick<SaveProgress, 'live' | 'complete' | 'scanned'>,
    { validEntries, invalidEntries, bytes }: SnapshotWriter['counts'],
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
