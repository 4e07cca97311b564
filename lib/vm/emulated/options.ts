import { outOfRangeError } from '../../base/arguments.js';
import { checkOptions, type OptionTable } from '../../base/options.js';
import type { HostModel } from '../host.js';
import { type MemoryRegion, checkRegions } from './memory.js';

const HOSTS: readonly HostModel[] = ['power8', 'power9'];

/** What an `EmulatedVm` is like. */
export interface EmulatedVmOptions {
  /** Processor of the host: POWER9 drops bits 52..61 of `v`. Default `power9`. */
  readonly host?: HostModel;
  /** log2 of the host's page size: 12 or 16. Default 16. */
  readonly pageShift?: number;
  /** The guest's memory, which must not overlap; without it all of it is present, behind pages of any size. */
  readonly memoryRegions?: readonly MemoryRegion[];
}

export const EMULATED_VM_OPTIONS = {
  host: {
    choices: HOSTS,
    default: 'power9',
    doc: 'processor of the host: POWER9 drops bits 52..61 of the first doubleword',
  },
  pageShift: {
    ...{ values: '12, 16', min: 12, max: 16, default: 16, unit: 'log2 of bytes' },
    doc: "log2 of the host's page size",
  },
  memoryRegions: {
    values: 'list of `{ guestAddress, size, hostPageShift, populated }`',
    doc: "the guest's memory; default: all of it is present, behind pages of any size",
  },
} as const satisfies OptionTable<EmulatedVmOptions>;

interface Machine {
  readonly host: HostModel;
  readonly pageShift: number;
  readonly memoryRegions: readonly MemoryRegion[] | undefined;
}

/**
 * The options, with their defaults.
 *
 * @throws RangeError for a page size or a region that no host has
 */
export function emulatedVmOptions(options: EmulatedVmOptions): Machine {
  checkOptions(options, EMULATED_VM_OPTIONS);
  const { host = 'power9', pageShift = 16, memoryRegions } = options;
  if (!HOSTS.includes(host)) throw outOfRangeError('host', HOSTS.join(' or '), host);
  if (pageShift !== 12 && pageShift !== 16) throw outOfRangeError('pageShift', '12 or 16', pageShift);
  if (memoryRegions !== undefined) checkRegions(memoryRegions, pageShift);
  return { host, pageShift, memoryRegions };
}
