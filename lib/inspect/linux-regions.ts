/** What a Linux guest uses a context for; `vrma`: guest real memory as firmware and early boot see it. */
export type LinuxRegion = 'linear' | 'vmalloc' | 'io' | 'vmemmap' | 'process' | 'vrma';

export const REGIONS: readonly LinuxRegion[] = ['linear', 'vmalloc', 'io', 'vmemmap', 'process', 'vrma'];

/** Page size a guest's kernel was built with. It decides on the contexts and the addresses of its regions. */
export type KernelPages = '64K' | '4K';

interface Layout {
  /** Contexts of the linear mapping, from 1 on. */
  readonly linearContexts: number;
  /** Where vmalloc, I/O and vmemmap begin, each a context of its own. */
  readonly virtualStarts: readonly bigint[];
  /** First context that a process can have. */
  readonly firstProcess: number;
}

const LINEAR = 0xc000000000000000n;
const CONTEXT_BYTES = 1n << 49n;

export const LAYOUTS: Readonly<Record<KernelPages, Layout>> = {
  '64K': {
    linearContexts: 4,
    virtualStarts: [0n, 1n, 2n].map((region) => 0xc008000000000000n + region * CONTEXT_BYTES),
    firstProcess: 8,
  },
  '4K': {
    linearContexts: 1,
    virtualStarts: [0n, 1n, 2n].map((region) => 0xc0003d0000000000n + (region << 40n)),
    firstProcess: 5,
  },
};

const VIRTUAL_REGIONS = ['vmalloc', 'io', 'vmemmap'] as const;

/** What a context is used for; undefined for 0, which nothing has. */
export function regionOf(context: number, kernelPages: KernelPages): LinuxRegion | undefined {
  if (context === 0) return undefined;
  const { linearContexts, firstProcess } = LAYOUTS[kernelPages];
  if (context <= linearContexts) return 'linear';
  return context < firstProcess ? VIRTUAL_REGIONS[context - linearContexts - 1]! : 'process';
}

/** The address bits that a context gives to all that is in it. */
export function baseOf(context: number, kernelPages: KernelPages): bigint {
  const { linearContexts, virtualStarts, firstProcess } = LAYOUTS[kernelPages];
  if (context <= linearContexts) return LINEAR + BigInt(context - 1) * CONTEXT_BYTES;
  return context < firstProcess ? virtualStarts[context - linearContexts - 1]! & -CONTEXT_BYTES : 0n;
}

/** Whether the guest's kernel made the mapping, and bolts what it needs there. */
export function isKernel(region: LinuxRegion): boolean {
  return region !== 'process' && region !== 'vrma';
}

/**
 * The context of a kernel address; undefined for an address of a process.
 *
 * @param effectiveAddress 64 bits
 */
export function kernelContext(effectiveAddress: bigint, kernelPages: KernelPages): number | undefined {
  if (effectiveAddress < LINEAR || effectiveAddress >> 60n !== LINEAR >> 60n) return undefined;
  const { linearContexts, virtualStarts } = LAYOUTS[kernelPages];
  const region = virtualStarts.findLastIndex((start) => effectiveAddress >= start);
  if (region !== -1) return linearContexts + 1 + region;
  return 1 + Number((effectiveAddress - LINEAR) / CONTEXT_BYTES);
}
