import type { ChangeCounts } from '../../inspect/change-fold.js';
import { countOf, type ContextChanges } from '../../inspect/context-changes.js';
import type { ContextStats } from '../../inspect/linux-guest.js';
import type { MappedCounts } from '../../inspect/vsid-stats.js';
import { formatHex64, formatBytes, formatCount } from './format.js';

/** Headings of {@link mappedCells}. */
export const MAPPED = ['entries', 'mapped', 'bolted', 'writable', 'executable'];

export function mappedCells({ entries, bytes, bolted, writable, executable }: MappedCounts): string[] {
  return [formatCount(entries), formatBytes(bytes), ...[bolted, writable, executable].map(formatCount)];
}

/** The kernel's contexts and the processes, each on a line. */
export function contextRows(contexts: readonly ContextStats[]): string[][] {
  return [
    ['region', 'context', ...MAPPED, 'from'],
    ...contexts.map((each) => [
      each.region,
      each.region === 'vrma' ? '-' : String(each.context),
      ...mappedCells(each),
      formatHex64(each.lowest),
    ]),
  ];
}

export function largestFirst(contexts: readonly ContextStats[]): ContextStats[] {
  return contexts.toSorted((a, b) => b.entries - a.entries || a.context - b.context);
}

/** What changed in the kernel's contexts and the processes, each on a line. */
export function changeRows(contexts: readonly ContextChanges[]): string[][] {
  return [
    ['region', 'context', 'came', 'went', 'changed', 'together'],
    ...contexts.map((each) => changeRow(each.region, each.context === 0 ? '-' : String(each.context), each)),
  ];
}

/** One line of {@link changeRows}. */
export function changeRow(region: string, context: string, counts: ChangeCounts): string[] {
  const { come, gone, changed } = counts;
  return [region, context, ...[come, gone, changed, countOf(counts)].map(formatCount)];
}
