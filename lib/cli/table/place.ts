import type { EmulatedSpec } from './emulated-spec.js';
import { UsageError } from '../errors/usage-error.js';

/** Exactly one of these options gives the place of the table. */
export const PLACES = ['htabFd', 'htabSocket', 'pid', 'attach', 'emulated'] as const;

/** The control socket of a VMM. */
export interface SocketPlace {
  readonly kind: 'socket';
  readonly path: string;
  /** The order that the VMM must answer, if one is given. */
  readonly order: number | undefined;
}

/** A descriptor known by its number, here or in another process. */
export interface DescriptorPlace {
  readonly kind: 'descriptor';
  readonly pid: number | undefined;
  readonly fd: number;
  readonly order: number;
}

/** A running VMM whose table is opened from outside. */
export interface AttachPlace {
  readonly kind: 'attach';
  readonly pid: number;
  /** Number of the VM's descriptor there, if one is given. */
  readonly fd: number | undefined;
  readonly order: number | undefined;
}

/** What is not known of a table that was read from a descriptor alone, on two lines of a terminal. */
export const NOT_SHOWN = [
  'a descriptor alone does not show whether the guest was reset, resized its table or',
  'went to radix meanwhile',
] as const;

/** Printed after such a table was read. */
export const NOT_RECHECKED = `source             NOT RECHECKED: ${NOT_SHOWN.join('\n                   ')} (--htab-socket does)\n`;

/** Where a table is, with all that is needed to open it. */
export type Place =
  SocketPlace | DescriptorPlace | AttachPlace | { readonly kind: 'emulated'; readonly spec: EmulatedSpec };

/**
 * The place that the command line gives; nothing is opened yet.
 *
 * @param others options that the command takes in place of one, for the message
 * @throws UsageError unless exactly one place is given, with all it needs
 */
export function placeOf(options: TableOptions, others = ''): Place {
  const { htabFd, htabSocket, pid, pidFd, attach, vmFd, emulated, order } = options;
  if (pid !== undefined && pidFd === undefined) throw new UsageError('--pid needs --pid-fd');
  if (pid === undefined && pidFd !== undefined) throw new UsageError('--pid-fd needs --pid');
  if (attach === undefined && vmFd !== undefined) throw new UsageError('--vm-fd needs --attach');
  if (PLACES.filter((place) => options[place] !== undefined).length !== 1) {
    const places = `${others}--attach, --htab-fd, --htab-socket, --pid with --pid-fd, or --emulated`;
    throw new UsageError(
      options.qmp === undefined
        ? `no table given: use ${places}`
        : `--qmp alone gives no table here: take it by save --qmp first, and name that file; or add ${places}`,
    );
  }
  if (emulated !== undefined) return { kind: 'emulated', spec: emulated };
  if (htabSocket !== undefined) return { kind: 'socket', path: htabSocket, order };
  if (attach !== undefined) return { kind: 'attach', pid: attach, fd: vmFd, order };
  if (order === undefined)
    throw new UsageError("--htab-fd and --pid need --order: a descriptor does not tell its table's order");
  return { kind: 'descriptor', pid, fd: (htabFd ?? pidFd)!, order };
}

/** Whether the command line gives one. */
export function hasPlace(options: TableOptions): boolean {
  return PLACES.some((place) => options[place] !== undefined);
}

/** Where a guest's table is. Exactly one place must be given. */
export interface TableOptions {
  /** Number of an HTAB descriptor that this process has inherited. */
  readonly htabFd?: number;
  /** Control socket of a VMM, see `VmmSocket`. */
  readonly htabSocket?: string;
  /** Process that has the descriptor `pidFd`. */
  readonly pid?: number;
  readonly pidFd?: number;
  /** Running VMM whose table is opened from outside. */
  readonly attach?: number;
  /** Number of the VM's descriptor there, if it has several. */
  readonly vmFd?: number;
  /** No guest: a table of an emulated VM. */
  readonly emulated?: EmulatedSpec;
  /** log2 of the table's bytes; a descriptor does not tell. */
  readonly order?: number;
  /** Monitor of the guest's QEMU: it stops the guest, and tells whether it is being migrated. */
  readonly qmp?: string;
}
