import { ptegCount } from '../hpt/geometry.js';
import { HPTE_R_C, HPTE_R_R, HPTE_V_BOLTED, HPTE_V_SECONDARY } from '../hpt/hpte-bits.js';
import type { SegmentSize } from '../hpt/hpte.js';
import type { PageShift } from '../hpt/page-size.js';
import { checkTable, type HptTable } from '../hpt/table.js';
import { VRMA_VSID } from './linux-address.js';
import { ACTUAL_SHIFTS, BASE_SHIFTS } from './page-sizes.js';
import { StatsPass } from './stats-pass.js';
import { type MappedCounts, otherVsids, type VsidStats, vsidStats } from './vsid-stats.js';

/** Entries of one pair of page sizes. */
export interface PageSizeStats {
  /** log2 of the page size the address is hashed with. */
  readonly basePageShift: PageShift;
  /** log2 of the page size memory is mapped with. */
  readonly actualPageShift: PageShift;
  readonly entries: number;
}

/** What a table holds. Everything but groups is counted in valid entries. */
export interface TableStats {
  /** log2 of the table's bytes. */
  readonly order: number;
  readonly entryCount: number;
  readonly ptegCount: number;
  readonly validCount: number;
  /** Groups by their number of valid entries: 0, 1, ... 8. */
  readonly occupancy: readonly number[];
  /** Entries in the group of the second hash; the others are in that of the first. */
  readonly secondary: number;
  /** Entries whose two groups are both full: to map another page there, the guest has to evict one. */
  readonly cornered: number;
  readonly segments: Readonly<Record<SegmentSize, number>>;
  /** Ascending; pairs without an entry are left out. */
  readonly pageSizes: readonly PageSizeStats[];
  readonly bolted: number;
  /** R is set. */
  readonly referenced: number;
  /** C is set. */
  readonly changed: number;
  /** pp 0, 1 or 2. */
  readonly writable: number;
  /** Neither N nor G is set. */
  readonly executable: number;
  /** Entries by pp0 << 2 | pp. */
  readonly protections: readonly number[];
  /** Entries by storage key. */
  readonly keys: readonly number[];
  /** Entries by W << 3 | I << 2 | M << 1 | G. */
  readonly wimg: readonly number[];
  /** Entries of guest real memory, as the host makes them for firmware. */
  readonly vrma: number;
  /** Entries with a reserved segment size or LP code, which no kernel accepts; they count in no segment. */
  readonly unreadable: number;
  /** Entries in a group that their address does not hash to: the hardware cannot find them. A healthy guest has none. */
  readonly misplaced: number;
  /** Entries that map a page which an entry counted before maps too. A healthy guest has none. */
  readonly doubled: number;
  /** By segment, the largest first; 524,288 at most. */
  readonly vsids: readonly VsidStats[];
  /** What lies in segments beyond these; zeros in any usual table. */
  readonly otherVsids: MappedCounts;
}

/**
 * Counts what is valid in a table, in one pass. Cost and memory follow what is valid: some ns an entry, and at most 40 MB
 * for the segments.
 *
 * @example
 * const { occupancy, bolted, misplaced } = tableStats(table);
 */
export function tableStats(table: HptTable): TableStats {
  checkTable('table', table);
  const pass = new StatsPass(table);
  const vsids = vsidStats(pass.vsids);
  const vrma = vsids.find(({ segment, vsid }) => segment === '1T' && vsid === VRMA_VSID);
  return {
    order: table.order,
    entryCount: table.entryCount,
    ptegCount: ptegCount(table.order),
    validCount: table.validCount,
    occupancy: [...pass.occupancy],
    secondary: sum(pass.flags, (flags) => (flags & HPTE_V_SECONDARY) !== 0),
    cornered: pass.cornered,
    segments: {
      '256M': sum(pass.flags, (flags) => flags >>> 5 === 0),
      '1T': sum(pass.flags, (flags) => flags >>> 5 === 1),
    },
    pageSizes: pageSizesOf(pass),
    bolted: sum(pass.flags, (flags) => (flags & HPTE_V_BOLTED) !== 0),
    referenced: sum(pass.attributes, (bits) => (bits & HPTE_R_R) !== 0),
    changed: sum(pass.attributes, (bits) => (bits & HPTE_R_C) !== 0),
    writable: sum(pass.attributes, (bits) => protectionOf(bits) < 3),
    executable: sum(pass.attributes, (bits) => (bits & 0xc) === 0),
    protections: histogram(pass.attributes, 8, protectionOf),
    keys: [...pass.keys],
    wimg: histogram(pass.attributes, 16, (bits) => (bits >>> 3) & 0xf),
    vrma: vrma?.entries ?? 0,
    unreadable: pass.unreadable,
    misplaced: pass.misplaced,
    doubled: pass.doubled,
    vsids,
    otherVsids: otherVsids(pass.vsids),
  };
}

function protectionOf(attributes: number): number {
  return ((attributes >>> 12) << 2) | (attributes & 3);
}

function sum(counts: Float64Array, counted: (bits: number) => boolean): number {
  return counts.reduce((total, count, bits) => (counted(bits) ? total + count : total), 0);
}

function histogram(counts: Float64Array, length: number, classOf: (bits: number) => number): number[] {
  const classes = new Array<number>(length).fill(0);
  for (const [bits, count] of counts.entries()) classes[classOf(bits)]! += count;
  return classes;
}

function pageSizesOf({ sizes }: StatsPass): PageSizeStats[] {
  const entries = new Map<number, number>();
  for (const [code, count] of sizes.entries()) {
    const pair = BASE_SHIFTS[code]! * 64 + ACTUAL_SHIFTS[code]!;
    if (count > 0 && pair > 0) entries.set(pair, (entries.get(pair) ?? 0) + count);
  }
  return [...entries]
    .sort(([a], [b]) => a - b)
    .map(([pair, count]) => ({
      basePageShift: Math.floor(pair / 64) as PageShift,
      actualPageShift: (pair % 64) as PageShift,
      entries: count,
    }));
}
