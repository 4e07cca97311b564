import type { HptTable } from '../hpt/table.js';

/** Three entries and what stands empty beyond: a read of this size walks over at most 200,000 entries (kernel-abi.md 2.3). */
export const LOOK_BYTES = 64;
/** An entry alone, as a record of its own. */
const RECORD_BYTES = 24;
const MAX_BUFFER_BYTES = 1 << 18;

/** Part of a table, to be read through one fresh descriptor. */
export interface Stretch {
  /** ptex of its first entry. */
  readonly from: number;
  /** ptex of its last one. */
  readonly to: number;
  /** Size of a read: with a larger one, it could walk far beyond the end. */
  readonly bufferBytes: number;
}

/**
 * Joins points of a table into stretches.
 *
 * @param points ptexes, with about equally many valid entries between them
 * @param readOnEntries largest distance of two points that are joined
 */
export function stretchesOf(table: HptTable, points: Iterable<number>, readOnEntries: number): Stretch[] {
  const sorted = [...new Set(points)].sort((one, other) => one - other);
  const betweenPoints = Math.ceil(table.validCount / Math.max(1, sorted.length));
  const stretches: Stretch[] = [];
  let first = 0;
  for (const [last, to] of sorted.entries()) {
    const next = sorted[last + 1];
    if (next !== undefined && next - to <= readOnEntries) continue;
    const bytes = LOOK_BYTES + (last - first) * betweenPoints * RECORD_BYTES;
    stretches.push({ from: sorted[first]!, to, bufferBytes: Math.min(MAX_BUFFER_BYTES, bytes) });
    first = last + 1;
  }
  return stretches;
}
