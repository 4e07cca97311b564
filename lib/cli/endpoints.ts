import { HtabUnavailableError } from '../errors.js';
import { GUEST_TIMEOUT_MS } from '../io/guest-control.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { SourceTable, TargetTable } from '../migration/endpoints.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';
import { EmulatedVm } from '../vm/emulated/emulated-vm.js';
import { thisHost } from '../vm/host.js';
import { adoptHtab, requestHtab, takeHtab } from '../vm/kvm/handover.js';
import { about } from './about.js';
import type { EndpointOptions } from './commands/endpoint-options.js';
import type { EmulatedSpec } from './emulated-spec.js';
import { ControlSocket } from './guest/control-socket.js';
import type { ControlledGuest } from './guest/controlled-guest.js';
import { type DescriptorPlace, type SocketPlace, placeOf } from './place.js';

/** A table to be read. */
export interface SourceEndpoint {
  /** For messages: `descriptor 3`. */
  readonly name: string;
  readonly table: HtabVm | SourceTable;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Processor of the host, where it is known. */
  readonly host: HostModel | undefined;
  /** How the guest is stopped and let go on, where the place itself offers it. */
  readonly control: ControlledGuest | undefined;
  /** Lets go of everything; a guest stays as it is. */
  close(): Promise<void>;
}

/** A table to be written. */
export interface TargetEndpoint {
  readonly name: string;
  readonly table: HtabVm | TargetTable;
  /** log2 of the table's bytes; undefined for a VM, which is given one of any order. */
  readonly order: number | undefined;
  readonly host: HostModel | undefined;
  close(): Promise<void>;
}

/**
 * Opens the table that is to be read. What concerns a guest needs KVM: nothing here falls back to the emulation.
 *
 * @param timeoutMs longest time for one answer of a VMM
 * @throws UsageError as {@link placeOf}
 * @throws HtabUnavailableError, HtabSystemError if it is not there, or is not what it should be
 */
export async function openSource(
  options: EndpointOptions,
  timeoutMs = GUEST_TIMEOUT_MS,
): Promise<SourceEndpoint> {
  const place = placeOf(options);
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
  // A VMM that could not pause its guest should not be asked for its table.
  const control = await about('--htab-socket', ControlSocket.open(place.path, timeoutMs));
  const ask = (): Promise<Opened> => openOverSocket(place, 'open-read', 'read', timeoutMs);
  try {
    const { handle, order } = await ask();
    const table = { handle, order, reopen: async () => (await ask()).handle };
    const close = (): Promise<void> => {
      control.close();
      return handle.close();
    };
    return { name: nameOf(place), table, order, host, control, close };
  } catch (error) {
    control.close();
    throw error;
  }
}

/**
 * Opens the table that is to be written; as {@link openSource}.
 *
 * @throws UsageError, HtabUnavailableError, HtabSystemError
 */
export async function openTarget(
  options: EndpointOptions,
  timeoutMs = GUEST_TIMEOUT_MS,
): Promise<TargetEndpoint> {
  const place = placeOf(options);
  if (place.kind === 'emulated') {
    const { host, pageShift } = place.spec;
    const vm = new EmulatedVm({ host, pageShift });
    return { name: 'an emulated VM', table: vm, order: undefined, host, close: () => vm.close() };
  }
  const name = nameOf(place);
  const host = await thisHost();
  if (place.kind === 'descriptor') {
    const table = { handle: await openDescriptor(place, 'write'), order: place.order };
    return { name, table, order: place.order, host, close: () => table.handle.close() };
  }
  const { handle, order } = await openOverSocket(place, 'open-write', 'write', timeoutMs);
  const openRead = async (): Promise<HtabHandle> =>
    (await openOverSocket(place, 'open-read-next', 'read', timeoutMs)).handle;
  return { name, table: { handle, order, openRead }, order, host, close: () => handle.close() };
}

interface Opened {
  readonly handle: HtabHandle;
  readonly order: number;
}

function nameOf(place: SocketPlace | DescriptorPlace): string {
  if (place.kind === 'socket') return `the VMM at ${place.path}`;
  const { fd, pid } = place;
  return pid === undefined ? `descriptor ${fd}` : `descriptor ${fd} of process ${pid}`;
}

async function emulatedSource(spec: EmulatedSpec): Promise<SourceEndpoint> {
  // The workload is not needed, and not loaded, where a guest is real.
  const { startEmulatedGuest } = await import('./emulated-guest.js');
  const { vm, order, control } = await about('--emulated', startEmulatedGuest(spec));
  const close = (): Promise<void> => {
    control?.close();
    return vm.close();
  };
  return { name: 'an emulated VM', table: vm, order, host: spec.host, control, close };
}

async function openDescriptor(place: DescriptorPlace, access: HtabHandle['access']): Promise<HtabHandle> {
  const { pid, fd } = place;
  const handle =
    pid === undefined
      ? await about('--htab-fd', adoptHtab(fd))
      : await about('--pid and --pid-fd', takeHtab({ pid, fd }));
  await checkAccess(handle, access, nameOf(place));
  return handle;
}

async function openOverSocket(
  place: SocketPlace,
  request: string,
  access: HtabHandle['access'],
  timeoutMs: number,
): Promise<Opened> {
  const { handle, text } = await about(
    '--htab-socket',
    requestHtab(place.path, { request: `${request}\n`, timeoutMs }),
  );
  await checkAccess(handle, access, `what ${nameOf(place)} gives for ${request}`);
  const order = Number(/^ok (\d\d)(?: [^\n]*)?\n$/.exec(text)?.[1] ?? Number.NaN);
  let problem: string | undefined;
  if (!(order >= MIN_ORDER && order <= MAX_STREAM_ORDER)) {
    problem = `answers ${request} with ${JSON.stringify(text)}, not with "ok ORDER", ORDER being ${MIN_ORDER} to ${MAX_STREAM_ORDER}`;
  } else if (place.order !== undefined && place.order !== order) {
    problem = `has a table of order ${order}, not ${place.order}`;
  }
  if (problem === undefined) return { handle, order };
  await handle.close();
  throw new HtabUnavailableError('unsupported', `${nameOf(place)} ${problem}`, 'ask whoever runs the VMM');
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
