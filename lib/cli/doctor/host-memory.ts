import { readFile } from 'node:fs/promises';
import { HtabSystemError } from '../../base/errors.js';
import type { HtabVm } from '../../vm/contract.js';

/** What a host has for guests' tables and for their pages, in bytes. */
export interface HostMemory {
  /** Contiguous memory for tables, where the kernel has set some aside. */
  readonly contiguous: { readonly total: number; readonly free: number } | undefined;
  readonly hugePages: { readonly size: number; readonly total: number; readonly free: number } | undefined;
}

const KIB = 1024;

/** Reads /proc/meminfo. */
export async function hostMemory(): Promise<HostMemory> {
  return parseMeminfo(await readFile('/proc/meminfo', 'utf8'));
}

export function parseMeminfo(text: string): HostMemory {
  const value = (name: string): number | undefined => {
    const digits = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  const [cma, cmaFree] = [value('CmaTotal'), value('CmaFree')];
  const [size, total, free] = [value('Hugepagesize'), value('HugePages_Total'), value('HugePages_Free')];
  return {
    contiguous:
      cma === undefined || cmaFree === undefined ? undefined : { total: cma * KIB, free: cmaFree * KIB },
    hugePages:
      size === undefined || total === undefined || free === undefined
        ? undefined
        : { size: size * KIB, total, free },
  };
}

/**
 * Whether the host can allocate a table of an order: tried, and freed at once with the VM.
 *
 * @param vm without a table; closed afterwards
 */
export async function hasMemoryFor(vm: HtabVm, order: number): Promise<boolean> {
  try {
    await vm.allocateHpt(order);
    return true;
  } catch (error) {
    if (error instanceof HtabSystemError && error.errnoName === 'ENOMEM') return false;
    throw error;
  } finally {
    await vm.close();
  }
}
