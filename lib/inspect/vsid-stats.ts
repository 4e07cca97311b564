import type { SegmentSize } from '../hpt/hpte.js';
import { COUNT, type VsidCounts } from './vsid-counts.js';

/** What is mapped in some part of a table. */
export interface MappedCounts {
  readonly entries: number;
  /** Sum of the actual page sizes. */
  readonly bytes: number;
  readonly bolted: number;
  /** Entries through which the kernel or a program may store: pp 0, 1 or 2. */
  readonly writable: number;
  /** Entries that instructions may be fetched through: neither N nor G. */
  readonly executable: number;
}

/** What is mapped in one segment. */
export interface VsidStats extends MappedCounts {
  readonly segment: SegmentSize;
  readonly vsid: bigint;
}

/** The counts of every segment that is kept: most entries first, then by VSID. */
export function vsidStats(found: VsidCounts): VsidStats[] {
  return found.sorted().map(({ is1T, vsid, at }) => ({
    segment: is1T ? '1T' : '256M',
    vsid: BigInt(vsid),
    ...countsAt(found.counts, at),
  }));
}

/** The counts of all segments that found no room. */
export function otherVsids({ counts }: VsidCounts): MappedCounts {
  return countsAt(counts, 0);
}

function countsAt(counts: Float64Array, at: number): MappedCounts {
  return {
    entries: counts[at + COUNT.entries]!,
    bytes: counts[at + COUNT.bytes]!,
    bolted: counts[at + COUNT.bolted]!,
    writable: counts[at + COUNT.writable]!,
    executable: counts[at + COUNT.executable]!,
  };
}
