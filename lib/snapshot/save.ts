import type { Writable } from 'node:stream';
import { checkPath } from '../base/arguments.js';
import { GuestControl } from '../precopy/guest-control.js';
import { HptReader } from '../io/reader.js';
import { knownOrder } from '../io/stream-order.js';
import { checkVmOrHandle, isVm } from '../io/vm-or-handle.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { hostOf } from '../vm/host.js';
import { MAX_RECORDS_BYTES, type SnapshotInfo } from './layout.js';
import { PassSaver } from './pass-saver.js';
import { passLimits, type SaveOptions } from './save-options.js';
import { openSink } from './sink.js';
import { isWritable } from './stream.js';
import { SnapshotWriter } from './writer.js';

export type { SaveOptions } from './save-options.js';

/** A snapshot that is on the disk. */
export interface SaveReport extends SnapshotInfo {
  /** From the call of `pause` until that of `resume`; undefined if the guest was not paused. */
  readonly stopMs: number | undefined;
  /**
   * Whether the table was looked at through fresh descriptors once it was quiescent, and agreed with what was saved. False for
   * a descriptor without `reopen`, which does not show whether the guest went to radix, was reset, or had its table resized;
   * and where the table still changed.
   */
  readonly sourceRechecked: boolean;
}

/**
 * Saves a table to a file, pass by pass: while the guest runs until few entries change, then, with the guest paused,
 * what is left. The guest runs on before the file is complete.
 *
 * The file appears under its name only when all of it is on the disk; until then, and after any failure, the name is
 * what it was before. Only its owner may read it. Memory: the table and 2 MiB.
 *
 * @param source a VM, or a read descriptor that has not been read from; a descriptor is closed at the end, whatever that is
 * @param path of the file; a regular file of this name is replaced. Or a stream, which stays open: what it has been
 *   given cannot be taken back, but {@link readSnapshot} refuses a snapshot that was given up
 * @throws TypeError for a descriptor without its table's order, for a handle open for writing, a path that is not a file's, or a guest that
 *   cannot be stopped
 * @throws RangeError for options out of range
 * @throws HtabError `ERR_HTAB_GUEST_STOPPED` if the guest could not be resumed; there is no file then
 * @throws HtabStateError `busy` if the table still changes and nothing allows it, `pause` does not settle in time, an
 *   earlier call of it or of `resume` still has not, or the guest has stood still for as long as it may; `lost` if the
 *   first pass does not give the whole table; `order-changed` if the table has another order; `replaced` if it is not the
 *   one that was saved: the guest was reset or its table resized, or another reader took its changes; and as {@link HptReader}
 * @throws HtabUnavailableError `no-table` if the guest has no table, uses radix, or went to it meanwhile
 * @throws HtabSystemError for what the kernel refuses: a descriptor, or the file, as on a full disk
 * @throws the signal's reason, or what `pause` rejects with; `resume` is called once `pause` was
 *
 * @example
 * const { digest, stopMs } = await saveSnapshot(vm, 'guest.hpt', { guest: { pause, resume } });
 */
export async function saveSnapshot(
  source: HtabVm | HtabHandle,
  path: string | Writable,
  options: SaveOptions = {},
): Promise<SaveReport> {
  checkVmOrHandle('source', source);
  try {
    if (!isWritable(path)) checkPath('path', path);
    return await save(source, path, options);
  } finally {
    if (!isVm(source)) await source.close();
  }
}

async function save(
  source: HtabVm | HtabHandle,
  path: string | Writable,
  options: SaveOptions,
): Promise<SaveReport> {
  const limits = passLimits(options);
  const vm = isVm(source) ? source : undefined;
  const order = knownOrder(source, options.order);
  const { signal } = options;
  signal?.throwIfAborted();
  const backend = vm?.backend ?? options.backend ?? 'kvm';
  const host = await hostOf(vm, backend, options.host);
  const bufferBytes = MAX_RECORDS_BYTES;
  await using reader = isVm(source)
    ? await HptReader.open(source, { order, bufferBytes, signal })
    : new HptReader(source, { order, bufferBytes });

  const file = await openSink(path, signal);
  try {
    const writer = new SnapshotWriter(file, { order, headerByteOrder: 'LE', backend, host });
    await writer.begin();
    const { guest } = options;
    const control = guest && new GuestControl(guest, limits.guestTimeoutMs, vm);
    const saver = new PassSaver(reader, writer, options, vm ?? options.reopen);
    const { quiescent, ...how } = await saver.run(limits, control);
    const info = await writer.end(quiescent);
    await file.commit();
    return { ...info, ...how };
  } finally {
    await file.discard();
  }
}
