import { INT_MAX } from '../../base/arguments.js';
import type { OptionTable } from '../../base/options.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';

/** How `attachHtab` opens a table. */
export interface AttachOptions {
  /** Number of the VMM's process, 1..2^31 - 1. */
  readonly pid: number;
  /** Default `read`. Nothing is written without a handle that was asked for with `write`. */
  readonly access?: 'read' | 'write';
  /** Number of the VM's descriptor in that process, 0..2^31 - 1; needed where it has several VMs. */
  readonly fd?: number | undefined;
  /** log2 of the table's bytes, 18..36. Default: found by one first pass over the table. */
  readonly order?: number | undefined;
  /** Ends the attaching with its reason. */
  readonly signal?: AbortSignal | undefined;
}

export const ATTACH_OPTIONS = {
  pid: {
    ...{ min: 1, max: INT_MAX, unit: 'pid' },
    doc: 'running VMM whose table to open, unchanged as it is',
  },
  access: { choices: ['read', 'write'], default: 'read', doc: 'what the descriptor is open for' },
  fd: {
    ...{ min: 0, max: INT_MAX, unit: 'descriptor' },
    doc: "number of the VM's descriptor in that process, if it has several VMs",
  },
  order: {
    ...{ min: MIN_ORDER, max: MAX_STREAM_ORDER, unit: 'log2 bytes' },
    doc: "log2 of the table's bytes; default: found by one first pass",
  },
  signal: { doc: 'ends the attaching with its reason' },
} as const satisfies OptionTable<AttachOptions>;
