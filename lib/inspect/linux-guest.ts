import { invalidTypeError } from '../base/arguments.js';
import { layoutOf } from './kernel-pages.js';
import { linuxAddress } from './linux-address.js';
import type { KernelPages, LinuxRegion } from './linux-regions.js';
import type { TableStats } from './table-stats.js';
import type { MappedCounts, VsidStats } from './vsid-stats.js';

/** What a context of a Linux guest maps: a part of the kernel, or a process. */
export interface ContextStats extends MappedCounts {
  readonly region: LinuxRegion;
  readonly context: number;
  /** Number of its segments. */
  readonly segments: number;
  /** Start of its lowest segment. */
  readonly lowest: bigint;
  /** Start of its highest segment. */
  readonly highest: bigint;
}

/** A Linux guest, as its table shows it. */
export interface LinuxGuest {
  /** Told from the contexts in use: with 4K, 2 to 4 are those of vmalloc, I/O and vmemmap. */
  readonly kernelPages: KernelPages;
  /** By context, ascending: the VRMA, the kernel, processes. */
  readonly contexts: readonly ContextStats[];
  /** Entries in segments that are no Linux guest's, or that `TableStats.vsids` left out. */
  readonly unknown: number;
}

/**
 * Who maps what in the table of a Linux guest, by context.
 *
 * @returns undefined for a table that is not that of a Linux guest, or of one before 4.12: what is bolted is not the kernel's,
 *   or nothing is
 *
 * @example
 * const guest = linuxGuest(tableStats(table));
 * const processes = guest?.contexts.filter(({ region }) => region === 'process');
 */
export function linuxGuest(stats: TableStats): LinuxGuest | undefined {
  const given: unknown = stats;
  if (typeof given !== 'object' || given === null || !('vsids' in given)) {
    throw invalidTypeError('stats', 'what tableStats returns', given);
  }
  const kernelPages = layoutOf(stats.bolted, stats.vsids);
  if (kernelPages === undefined) return undefined;
  const contexts = contextsOf(stats.vsids, kernelPages);
  const known = contexts.reduce((entries, context) => entries + context.entries, 0);
  return { kernelPages, contexts, unknown: stats.validCount - known };
}

function contextsOf(vsids: readonly VsidStats[], kernelPages: KernelPages): ContextStats[] {
  const contexts = new Map<number, ContextStats>();
  for (const each of vsids) {
    const { segment, vsid } = each;
    const address = linuxAddress({ segment, vsid, offset: 0n, basePageShift: 12 }, kernelPages);
    if (address === undefined) continue;
    const { region, context, effectiveAddress: start } = address;
    const before = contexts.get(context) ?? emptyContext(region, context, start);
    contexts.set(context, withSegment(before, each, start));
  }
  return [...contexts.values()].sort((a, b) => a.context - b.context);
}

function emptyContext(region: LinuxRegion, context: number, start: bigint): ContextStats {
  const nothing = { entries: 0, bytes: 0, bolted: 0, writable: 0, executable: 0 };
  return { region, context, segments: 0, lowest: start, highest: start, ...nothing };
}

function withSegment(context: ContextStats, segment: MappedCounts, start: bigint): ContextStats {
  return {
    region: context.region,
    context: context.context,
    segments: context.segments + 1,
    lowest: start < context.lowest ? start : context.lowest,
    highest: start > context.highest ? start : context.highest,
    entries: context.entries + segment.entries,
    bytes: context.bytes + segment.bytes,
    bolted: context.bolted + segment.bolted,
    writable: context.writable + segment.writable,
    executable: context.executable + segment.executable,
  };
}
