import { checkObject, checkOptions, checkPath, integerOption, invalidValue } from '../arguments.js';
import { HtabStateError } from '../errors.js';
import {
  GUEST_TIMEOUT_MS,
  GuestControl,
  STOP_LIMIT_MS,
  checkGuestCallbacks,
  type GuestCallbacks,
} from '../io/guest-control.js';
import type { PassProgress } from '../io/pass-progress.js';
import { HptReader } from '../io/reader.js';
import { streamOrder } from '../io/stream-order.js';
import { checkVmOrHandle, isVm } from '../io/vm-or-handle.js';
import { MAX_MS, within } from '../node/waiting.js';
import type { BackendName, HtabHandle, HtabVm } from '../vm/contract.js';
import { hostOf, type HostModel } from '../vm/host.js';
import { AtomicFile } from './atomic-file.js';
import { MAX_RECORDS_BYTES, type SnapshotInfo } from './layout.js';
import { SnapshotWriter } from './writer.js';

export interface SaveOptions {
  /** log2 of the table's bytes, 18..36; needed where the source does not know it, as a descriptor never does. */
  readonly order?: number | undefined;
  /** Kind of VM a given descriptor is of. Default `kvm`; a VM says so itself. */
  readonly backend?: BackendName | undefined;
  /**
   * Processor of the host, where neither the VM nor this machine tells: a POWER9 host cannot hold every entry of a POWER8
   * one. `power9` for later ones too.
   */
  readonly host?: HostModel | undefined;
  /** How to stop the guest, if it runs. Without it the guest is taken to stand still. */
  readonly guest?: Pick<GuestCallbacks, 'pause' | 'resume'> | undefined;
  /** Longest time one call of `pause` or `resume` may take, in ms, 1..2^31 - 1; default 30,000. */
  readonly guestTimeoutMs?: number | undefined;
  /** Longest time the guest is kept stopped, in ms, 1..2^31 - 1; default 120,000. After that it runs on, and there is no file. */
  readonly stopLimitMs?: number | undefined;
  /** Passes while the guest runs, or until a guest that stands still is known to: 1..2^31 - 1; default 16. */
  readonly maxPasses?: number | undefined;
  /** The guest is paused after a pass that found no more entries changed than this, 0..2^32; default 256. */
  readonly maxChangedEntries?: number | undefined;
  /**
   * Keep the snapshot even if the table still changed during the last pass: a mixture of moments, to look at and not to
   * load (see `quiescent`). Default false.
   */
  readonly allowChanging?: boolean | undefined;
  /** Ends it with its reason: no file is left, and the guest is resumed if it was paused. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every frame of records and at the end of every pass. */
  readonly onProgress?: ((progress: PassProgress) => void) | undefined;
}

/** A snapshot that is on the disk. */
export interface SaveReport extends SnapshotInfo {
  /** From the call of `pause` until that of `resume`; undefined if the guest was not paused. */
  readonly stopMs: number | undefined;
}

/** Passes over a guest that was paused, until nothing is left; two were always enough on real hosts. */
const MAX_STOPPED_PASSES = 16;
const MAX_COUNT = 2 ** 31 - 1;

/**
 * Saves a table to a file, pass by pass: while the guest runs until few entries change, then, with the guest paused,
 * what is left. The guest runs on before the file is complete.
 *
 * The file appears under its name only when all of it is on the disk; until then, and after any failure, the name is
 * what it was before. Only its owner may read it. Memory: the table and 2 MiB.
 *
 * @param source a VM, or a read descriptor that has not been read from; a descriptor is closed at the end, whatever that is
 * @param path of the file; a regular file of this name is replaced
 * @throws TypeError without the table's order, for a handle open for writing, a path that is not a file's, or a guest that
 *   cannot be stopped
 * @throws RangeError for options out of range
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if the guest could not be resumed; there is no file then
 * @throws HtabStateError `busy` if the table still changes and nothing allows it, `pause` does not settle in time, an
 *   earlier call of it or of `resume` still has not, or the guest has stood still for as long as it may; `lost` if the
 *   first pass does not give the whole table; and as {@link HptReader} says, `order-changed` among them
 * @throws HtabSystemError for what the kernel refuses: a descriptor, or the file (a full disk, say)
 * @throws the signal's reason, or what `pause` rejects with; `resume` is called once `pause` was
 */
export async function saveSnapshot(
  source: HtabVm | HtabHandle,
  path: string,
  options: SaveOptions = {},
): Promise<SaveReport> {
  checkVmOrHandle('source', source);
  try {
    checkPath('path', path);
    checkOptions(options);
    return await save(source, path, options);
  } finally {
    if (!isVm(source)) await source.close();
  }
}

async function save(source: HtabVm | HtabHandle, path: string, options: SaveOptions): Promise<SaveReport> {
  const limits = passLimits(options);
  const vm = isVm(source) ? source : undefined;
  const order = vm === undefined ? options.order : streamOrder(vm, options.order);
  if (order === undefined) {
    throw invalidValue('The "order" option is needed: the source does not tell its table\'s order');
  }
  const { signal } = options;
  signal?.throwIfAborted();
  const backend = vm?.backend ?? options.backend ?? 'kvm';
  const host = await hostOf(vm, backend, options.host);
  const bufferBytes = MAX_RECORDS_BYTES;
  await using reader = isVm(source)
    ? await HptReader.open(source, { order, bufferBytes, signal })
    : new HptReader(source, { order, bufferBytes });

  const file = await AtomicFile.create(path, signal);
  try {
    const writer = new SnapshotWriter(file, { order, headerByteOrder: 'LE', backend, host });
    await writer.begin();
    const { guest } = options;
    const control = guest && new GuestControl(guest, limits.guestTimeoutMs, vm);
    const { quiescent, stopMs } = await new PassSaver(reader, writer, options).run(limits, control);
    const info = await writer.end(quiescent);
    await file.commit();
    return { ...info, stopMs };
  } finally {
    await file.discard();
  }
}

type PassLimits = Readonly<
  Record<'maxPasses' | 'maxChangedEntries' | 'guestTimeoutMs' | 'stopLimitMs', number>
>;

function passLimits({ guest, ...options }: SaveOptions): PassLimits {
  if (guest !== undefined) {
    checkObject('guest', guest);
    checkGuestCallbacks(guest);
  }
  return {
    maxPasses: integerOption('maxPasses', options.maxPasses, 16, 1, MAX_COUNT),
    maxChangedEntries: integerOption('maxChangedEntries', options.maxChangedEntries, 256, 0, 2 ** 32),
    guestTimeoutMs: integerOption('guestTimeoutMs', options.guestTimeoutMs, GUEST_TIMEOUT_MS, 1, MAX_MS),
    stopLimitMs: integerOption('stopLimitMs', options.stopLimitMs, STOP_LIMIT_MS, 1, MAX_MS),
  };
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

  async run(
    { maxPasses, maxChangedEntries, stopLimitMs }: PassLimits,
    control: GuestControl | undefined,
  ): Promise<{ quiescent: boolean; stopMs: number | undefined }> {
    const { signal } = this.#options;
    if (control === undefined) return { quiescent: await this.#untilQuiescent(maxPasses), stopMs: undefined };

    do await this.#pass(true);
    while (this.#passes < maxPasses && (this.#changing ?? Infinity) > maxChangedEntries);
    let quiescent: boolean;
    try {
      await control.pause(signal);
      // The guest does not wait for a disk or a kernel that hangs; the passes go on until their descriptors are closed.
      quiescent = await within(this.#untilQuiescent(MAX_STOPPED_PASSES), stopLimitMs, signal, () =>
        this.#stoppedTooLong(stopLimitMs),
      );
    } catch (error) {
      await control.resume(error);
      throw error;
    }
    const stopMs = control.stoppedMs;
    await control.resume();
    return { quiescent, stopMs };
  }

  #stoppedTooLong(stopLimitMs: number): HtabStateError {
    return new HtabStateError(
      'busy',
      `the guest has been stopped for ${stopLimitMs} ms, as long as is allowed, in pass ${this.#passes + 1}: ` +
        'save to a faster disk, or allow more (stopLimitMs)',
    );
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
    for await (const records of this.#reader.pass({ signal })) {
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
    state: Pick<PassProgress, 'live' | 'complete' | 'scanned'>,
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
