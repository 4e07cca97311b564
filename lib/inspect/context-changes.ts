import type { ChangeCounts, SegmentChanges } from './change-fold.js';
import { linuxAddress } from './linux-address.js';
import type { KernelPages, LinuxRegion } from './linux-regions.js';

/** What changed in a context of a Linux guest: a part of the kernel, or a process. */
export interface ContextChanges extends ChangeCounts {
  /** `other`: in segments that are no Linux guest's. */
  readonly region: LinuxRegion | 'other';
  /** 0 for the VRMA and for `other`. */
  readonly context: number;
}

/**
 * Who changed what, by context, the largest first.
 *
 * @param kernelPages of the guest's kernel; undefined: it is not known to be Linux, and all is `other`
 */
export function contextChanges(
  segments: readonly SegmentChanges[],
  kernelPages: KernelPages | undefined,
): ContextChanges[] {
  const contexts = new Map<string, ContextChanges>();
  for (const each of segments) {
    const { segment, vsid } = each;
    const page = { segment, vsid, offset: 0n, basePageShift: 12 } as const;
    const address = kernelPages === undefined ? undefined : linuxAddress(page, kernelPages);
    const { region, context } = address ?? { region: 'other' as const, context: 0 };
    const key = `${region} ${context}`;
    contexts.set(key, addChanges(contexts.get(key) ?? { region, context, ...NOTHING }, each));
  }
  return [...contexts.values()].sort((a, b) => countOf(b) - countOf(a) || a.context - b.context);
}

const NOTHING: ChangeCounts = { come: 0, gone: 0, changed: 0 };

/** The first, with the counts of both. */
export function addChanges<Counts extends ChangeCounts>(a: Counts, b: ChangeCounts): Counts {
  return { ...a, come: a.come + b.come, gone: a.gone + b.gone, changed: a.changed + b.changed };
}

/** Entries that came, went, or changed. */
export function countOf({ come, gone, changed }: ChangeCounts): number {
  return come + gone + changed;
}
