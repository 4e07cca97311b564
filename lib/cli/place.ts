import type { EndpointOptions } from './commands/endpoint-options.js';
import type { EmulatedSpec } from './emulated-spec.js';
import { UsageError } from './usage-error.js';

/** The options of which exactly one says where a table is. */
export const PLACES = ['htabFd', 'htabSocket', 'pid', 'emulated'] as const;

/** The control socket of a VMM. */
export interface SocketPlace {
  readonly kind: 'socket';
  readonly path: string;
  /** What the VMM must say, if anything is given. */
  readonly order: number | undefined;
}

/** A descriptor known by its number, here or in another process. */
export interface DescriptorPlace {
  readonly kind: 'descriptor';
  readonly pid: number | undefined;
  readonly fd: number;
  readonly order: number;
}

/** Where a table is, with all that is needed to get at it. */
export type Place =
  SocketPlace | DescriptorPlace | { readonly kind: 'emulated'; readonly spec: EmulatedSpec };

/**
 * What the command line says; nothing is opened yet.
 *
 * @throws UsageError unless exactly one place is given, with all it needs
 */
export function placeOf(options: EndpointOptions): Place {
  const { htabFd, htabSocket, pid, pidFd, emulated, order } = options;
  if ((pid === undefined) !== (pidFd === undefined)) throw new UsageError('--pid and --pid-fd go together');
  if (PLACES.filter((place) => options[place] !== undefined).length !== 1) {
    throw new UsageError(
      'say where the table is: --htab-fd, --htab-socket, --pid with --pid-fd, or --emulated',
    );
  }
  if (emulated !== undefined) return { kind: 'emulated', spec: emulated };
  if (htabSocket !== undefined) return { kind: 'socket', path: htabSocket, order };
  if (order === undefined)
    throw new UsageError("--order is needed: a descriptor does not tell its table's order");
  return { kind: 'descriptor', pid, fd: (htabFd ?? pidFd)!, order };
}
