import { HtabUnavailableError } from '../../base/errors.js';
import { GUEST_LIMITS, type GuestCallbacks } from '../../precopy/guest-options.js';
import type { OpenFresh } from '../../io/fresh-look.js';
import { guardedHandle } from '../../io/guarded-handle.js';
import { isVm } from '../../io/vm-or-handle.js';
import { connectQmp } from '../../qemu/qmp/connection.js';
import { qmpGuestControl } from '../../qemu/qmp/guest-control.js';
import { guardAgainstMigration } from '../../qemu/qmp/migration-guard.js';
import type { SourceTable, TargetTable } from '../../migration/tables.js';
import type { HtabHandle, HtabVm } from '../../vm/contract.js';
import type { HostModel } from '../../vm/host.js';
import { EmulatedVm } from '../../vm/emulated/emulated-vm.js';
import { thisHost } from '../../vm/host.js';
import { attachHtab } from '../../vm/kvm/attach.js';
import { adoptHtab, takeHtab } from '../../vm/kvm/handover.js';
import { UsageError } from '../errors/usage-error.js';
import { forOption } from '../../base/for-option.js';
import type { EmulatedSpec } from './emulated-spec.js';
import { VmmSocket } from '../../vm/kvm/vmm-socket.js';
import { requestSource, requestTarget, type VmmSource, type VmmTarget } from '../../vm/kvm/vmm-tables.js';
import {
  type AttachPlace,
  type DescriptorPlace,
  type SocketPlace,
  type Place,
  placeOf,
  type TableOptions,
} from './place.js';

const TIMEOUT_MS = GUEST_LIMITS.guestTimeoutMs.default;

/** A table opened for reading. */
export interface OpenForReading {
  /** For messages: `descriptor 3`. */
  readonly name: string;
  readonly table: HtabVm | SourceTable;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Processor of the host, where it is known. */
  readonly host: HostModel | undefined;
  /** How the guest is stopped and resumed, where the place, or `--qmp`, offers it. */
  readonly control: GuestCallbacks | undefined;
  /** Closes everything; a guest stays as it is. */
  close(): Promise<void>;
}

/** A table opened for writing. */
export interface OpenForWriting {
  readonly name: string;
  readonly table: HtabVm | TargetTable;
  /** log2 of the table's bytes; undefined for a VM, which can take any order. */
  readonly order: number | undefined;
  readonly host: HostModel | undefined;
  close(): Promise<void>;
}

/**
 * Opens a table for reading. A guest's table needs KVM: nothing here falls back to the emulation.
 *
 * @param timeoutMs longest time for one answer of a VMM
 * @throws UsageError as {@link placeOf}
 * @throws HtabUnavailableError, HtabSystemError if it is missing or of the wrong kind
 * @throws the signal's reason
 */
export async function openForReading(
  options: TableOptions,
  timeoutMs: number = TIMEOUT_MS,
  signal?: AbortSignal,
): Promise<OpenForReading> {
  const place = placeOf(options);
  const waiting = { timeoutMs, signal };
  return options.qmp === undefined ? openPlace(place, waiting) : openGuarded(place, options.qmp, waiting);
}

/** How long the answers of a VMM are waited for. */
interface Waiting {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Opens a table of which nothing is read while its QEMU migrates the guest. */
async function openGuarded(place: Place, path: string, waiting: Waiting): Promise<OpenForReading> {
  const qmp = await forOption('qmp', connectQmp(path, waiting));
  try {
    // Before the table is opened: a guest that migrates must not notice this.
    const check = await guardAgainstMigration(qmp);
    const source = await openPlace(place, waiting);
    const close = async (): Promise<void> => {
      await source.close();
      qmp.close();
    };
    const { table } = source;
    const guarded = isVm(table) ? table : guardTable(table, check);
    return { ...source, table: guarded, control: qmpGuestControl(qmp), close };
  } catch (error) {
    qmp.close();
    throw error;
  }
}

function guardTable({ reopen, ...table }: SourceTable, check: () => Promise<void>): SourceTable {
  return {
    ...table,
    handle: guardedHandle(table.handle, check),
    ...(reopen && { reopen: guardOpener(reopen, check) }),
  };
}

function guardOpener(open: OpenFresh, check: () => Promise<void>): OpenFresh {
  const opened = async (startIndex: number): Promise<HtabHandle> =>
    guardedHandle(await open(startIndex), check);
  return Object.assign(opened, { readOnEntries: open.readOnEntries });
}

async function openPlace(place: Place, { timeoutMs, signal }: Waiting): Promise<OpenForReading> {
  if (place.kind === 'emulated') return emulatedSource(place.spec);
  const host = await thisHost();
  if (place.kind === 'descriptor') {
    const table = { handle: await openDescriptor(place, 'read'), order: place.order };
    return {
      name: nameOf(place),
      table,
      order: place.order,
      host,
      control: undefined,
      close: () => table.handle.close(),
    };
  }
  if (place.kind === 'attach') {
    const { kind: _kind, ...options } = place;
    const table = await forOption('attach', attachHtab({ ...options, signal }));
    return {
      ...{ name: nameOf(place), table, order: table.order, host, control: undefined },
      close: () => table.handle.close(),
    };
  }
  // A VMM that cannot be reached to pause its guest must not be asked for the table.
  const control = await forOption('htabSocket', VmmSocket.open(place.path, { timeoutMs }));
  try {
    const table = await forOption('htabSocket', requestSource(place.path, { timeoutMs }));
    await checkOrder(table, place);
    const close = (): Promise<void> => {
      control.close();
      return table.handle.close();
    };
    return { name: nameOf(place), table, order: table.order, host, control, close };
  } catch (error) {
    control.close();
    throw error;
  }
}

/**
 * Opens a table for writing; as {@link openForReading}.
 *
 * @throws UsageError, HtabUnavailableError, HtabSystemError
 */
export async function openForWriting(
  options: TableOptions,
  timeoutMs: number = TIMEOUT_MS,
): Promise<OpenForWriting> {
  const place = placeOf(options);
  if (place.kind === 'emulated') {
    const { host, pageShift } = place.spec;
    const vm = new EmulatedVm({ host, pageShift });
    return { name: 'an emulated VM', table: vm, order: undefined, host, close: () => vm.close() };
  }
  if (place.kind === 'attach') throw new UsageError('--attach opens a table for reading only');
  const name = nameOf(place);
  const host = await thisHost();
  if (place.kind === 'descriptor') {
    const table = { handle: await openDescriptor(place, 'write'), order: place.order };
    return { name, table, order: place.order, host, close: () => table.handle.close() };
  }
  const table = await forOption('htabSocket', requestTarget(place.path, { timeoutMs }));
  await checkOrder(table, place);
  return { name, table, order: table.order, host, close: () => table.handle.close() };
}

function nameOf(place: SocketPlace | DescriptorPlace | AttachPlace): string {
  if (place.kind === 'socket') return `the VMM at ${place.path}`;
  if (place.kind === 'attach') return `the VMM of process ${place.pid}`;
  const { fd, pid } = place;
  return pid === undefined ? `descriptor ${fd}` : `descriptor ${fd} of process ${pid}`;
}

async function emulatedSource(spec: EmulatedSpec): Promise<OpenForReading> {
  // The workload is loaded only for an emulated guest.
  const { startEmulatedGuest } = await import('./emulated-guest.js');
  const { vm, ...guest } = await forOption('emulated', startEmulatedGuest(spec));
  return { name: 'an emulated VM', table: vm, host: spec.host, ...guest };
}

async function openDescriptor(place: DescriptorPlace, access: HtabHandle['access']): Promise<HtabHandle> {
  const { pid, fd } = place;
  const handle =
    pid === undefined
      ? await forOption('htabFd', adoptHtab(fd))
      : await forOption('pidFd', takeHtab({ pid, fd }));
  await checkAccess(handle, access, nameOf(place));
  return handle;
}

/** @throws HtabUnavailableError if the VMM's table does not have the order that `--order` says */
async function checkOrder({ handle, order }: VmmSource | VmmTarget, place: SocketPlace): Promise<void> {
  if (place.order === undefined || place.order === order) return;
  await handle.close();
  throw new HtabUnavailableError(
    'unsupported',
    `${nameOf(place)} has a table of order ${order}, not ${place.order}`,
    'check --order, and that the socket is that of the right VMM',
  );
}

async function checkAccess(handle: HtabHandle, access: HtabHandle['access'], name: string): Promise<void> {
  if (handle.access === access) return;
  await handle.close();
  const doing = { read: 'reading', write: 'writing' };
  throw new HtabUnavailableError(
    'unsupported',
    `${name} is open for ${doing[handle.access]}`,
    `open one for ${doing[access]} (KVM_PPC_GET_HTAB_FD)`,
  );
}
