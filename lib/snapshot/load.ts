import { hasMethod, invalidValueError, invalidTypeError } from '../base/arguments.js';
import { bothErrors } from '../base/both-errors.js';
import { HtabStateError, HtabUnavailableError } from '../base/errors.js';
import { checkOptions } from '../base/options.js';
import type { HptTable } from '../hpt/table.js';
import { checkAgainst } from '../io/read-back.js';
import { TableClaim } from '../io/table-claim.js';
import { TableWriter, openEmptyTable } from '../io/table-writer.js';
import { checkVmOrHandle, isHandle, isVm } from '../io/vm-or-handle.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { firstEntryLostOn, hostOf, type HostModel } from '../vm/host.js';
import type { Snapshot } from './decoder.js';
import type { SnapshotInfo } from './layout.js';
import { LOAD_OPTIONS, type LoadOptions } from './load-options.js';
import { readSnapshot } from './read.js';

export type { LoadOptions, LoadProgress } from './load-options.js';

/**
 * Gives a VM the table of a snapshot. No vcpu of it may run.
 *
 * Nothing is touched before all of the file has been verified. A VM then gets an empty table of the snapshot's order;
 * through a descriptor, every entry is written, those that are invalid too. When this rejects after that, the table has
 * been emptied again: a guest never has half of one.
 *
 * @param snapshot its path, or what {@link readSnapshot} made of it
 * @param target a VM, or a write descriptor; a descriptor is closed at the end
 * @throws HtabFormatError, HtabSystemError for a file that is not a whole snapshot, or cannot be read
 * @throws HtabStateError `busy` for a snapshot of a changing table, unless that is allowed; and while another operation reads,
 *   writes or replaces the VM's table
 * @throws HtabUnavailableError `unsupported` for a table that the target, or its host, cannot hold
 * @throws HtabSystemError for an entry that the kernel refuses: which, and the likely cause; EBUSY while a vcpu runs
 * @throws HtabError `ERR_HTAB_VERIFY` if the table that was read back differs
 * @throws HtabStateError `lost` if the table could not even be emptied after a failure
 * @throws TypeError for a descriptor of the wrong direction
 * @throws the signal's reason
 *
 * @example
 * await loadSnapshot('guest.hpt', vm, { readBack: true });
 */
export async function loadSnapshot(
  snapshot: string | Snapshot,
  target: HtabVm | HtabHandle,
  options: LoadOptions = {},
): Promise<SnapshotInfo> {
  checkVmOrHandle('target', target);
  try {
    return await load(snapshot, target, options);
  } finally {
    await closeHandles(target, options);
  }
}

async function load(
  given: string | Snapshot,
  target: HtabVm | HtabHandle,
  options: LoadOptions,
): Promise<SnapshotInfo> {
  checkOptions(options, LOAD_OPTIONS);
  const { signal, readBack = false } = options;
  checkTarget(target, readBack);
  if (typeof given !== 'string') checkSnapshot(given);
  using _claim = isVm(target) ? TableClaim.take(target, 'replace', 'loadSnapshot') : undefined;
  const { info, table } = typeof given === 'string' ? await readSnapshot(given, { signal }) : given;
  const vm = isVm(target) ? target : undefined;
  const host = await hostOf(vm, vm?.backend ?? 'kvm', options.host);
  checkFits(info, table, { ...options, host });
  signal?.throwIfAborted();
  await apply(table, target, options);
  return info;
}

async function apply(table: HptTable, target: HtabVm | HtabHandle, options: LoadOptions): Promise<void> {
  const { signal, readBack = false, onProgress } = options;
  const handle = isVm(target) ? await openEmptyTable(target, table.order) : target;
  const writer = new TableWriter(handle);
  try {
    await writer.write(table, {
      signal,
      onProgress: (written) => onProgress?.({ step: 'write', written }),
    });
    if (readBack !== false) {
      onProgress?.({ step: 'read back', written: 1 });
      await checkAgainst(table, readBack === true ? target : readBack, signal);
    }
  } catch (error) {
    if (writer.touched) await emptyAfter(error, writer, table.order);
    throw error;
  } finally {
    await handle.close();
  }
}

function checkSnapshot(snapshot: Partial<Snapshot> | null | undefined): void {
  if (hasMethod(snapshot?.table, 'applyRecords') && typeof snapshot?.info === 'object') return;
  throw invalidTypeError('snapshot', 'a path or a Snapshot', snapshot);
}

function checkTarget(target: HtabVm | HtabHandle, readBack: boolean | HtabHandle): void {
  if (typeof readBack !== 'boolean' && !isHandle(readBack)) {
    throw invalidTypeError('readBack', 'a boolean or an HtabHandle', readBack);
  }
  let problem: string | undefined;
  if (!isVm(target)) {
    if (target.access !== 'write') problem = 'The "target" argument must be open for writing';
    else if (readBack === true)
      problem = 'The "readBack" argument must be a handle, as the "target" argument is';
  }
  if (typeof readBack === 'object' && readBack.access !== 'read') {
    problem = 'The "readBack" argument must be open for reading';
  }
  if (problem !== undefined) throw invalidValueError(problem);
}

/** @throws HtabStateError `busy` for a table that mixes moments, or of which nothing tells that it does not */
export function checkMoment({ quiescent }: SnapshotInfo, allowChanging = false): void {
  if (quiescent || allowChanging) return;
  throw new HtabStateError(
    'busy',
    'the table was changing while it was saved: the snapshot mixes moments, and a guest must not run on it',
  );
}

function checkFits(
  info: SnapshotInfo,
  table: HptTable,
  { order, host, allowChanging }: Pick<LoadOptions, 'order' | 'allowChanging'> & { host: HostModel | null },
): void {
  checkMoment(info, allowChanging);
  if (order !== undefined && order !== info.order) {
    throw new HtabUnavailableError(
      'unsupported',
      `the snapshot's table has order ${info.order}, the target's has ${order}`,
      `give the target a table of order ${info.order}`,
    );
  }
  const lost = host === null ? undefined : firstEntryLostOn(host, table);
  if (lost === undefined) return;
  throw new HtabUnavailableError(
    'unsupported',
    `entry ${lost} of the snapshot uses bits 52 to 61 of its first doubleword, which a POWER9 host drops`,
    'load it on a POWER8 host',
  );
}

/** Empties the table after a failure; if that fails too, the error has both. */
async function emptyAfter(error: unknown, writer: TableWriter, order: number): Promise<void> {
  try {
    await writer.empty(order);
  } catch (failure) {
    throw new HtabStateError(
      'lost',
      'loading failed, and the table could not be emptied again: it may hold part of the snapshot, and no guest may run on it',
      { cause: bothErrors(error, failure) },
    );
  }
}

/** Also after wrong arguments, so `options` may be anything. */
async function closeHandles(target: HtabVm | HtabHandle, options: LoadOptions | null): Promise<void> {
  if (!isVm(target)) await target.close();
  const readBack = options?.readBack;
  if (isHandle(readBack)) await readBack.close();
}
