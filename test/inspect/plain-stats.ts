import { virtualPageOf } from '../../lib/hpt/hash.js';
import { decodeHpte, type Hpte } from '../../lib/hpt/hpte.js';
import { ptegCount } from '../../lib/hpt/geometry.js';
import type { HptTable } from '../../lib/hpt/table.js';
import type { TableStats } from '../../lib/inspect/table-stats.js';
import type { VsidStats } from '../../lib/inspect/vsid-stats.js';

/** {@link TableStats} counted slowly and plainly, entry by entry, over decoded fields. */
export function plainStats(table: HptTable): TableStats {
  const entries = [...table].map(([ptex, { v, r }]) => ({
    ptex,
    v,
    r,
    hpte: decodeHpte(v, r),
    page: virtualPageOf(ptex, v, r, table.order),
  }));
  const groups = new Array<number>(ptegCount(table.order)).fill(0);
  for (const { ptex } of entries) groups[Math.floor(ptex / 8)]!++;
  const readable = entries.flatMap(({ hpte }) => (hpte === undefined ? [] : [hpte]));
  const places = entries.flatMap(({ page }) => (page === undefined ? [] : [JSON.stringify(page, asText)]));
  return {
    order: table.order,
    entryCount: table.entryCount,
    ptegCount: groups.length,
    validCount: entries.length,
    occupancy: Array.from({ length: 9 }, (_, held) => groups.filter((group) => group === held).length),
    cornered: entries.filter(({ ptex }) => {
      const group = Math.floor(ptex / 8);
      return groups[group] === 8 && groups[groups.length - 1 - group] === 8;
    }).length,
    misplaced: entries.filter(({ hpte, page }) => hpte !== undefined && page === undefined).length,
    doubled: places.length - new Set(places).size,
    unreadable: entries.length - readable.length,
    pageSizes: pageSizes(readable),
    ...bits(entries),
    vsids: vsids(readable),
    vrma: readable.filter((hpte) => hpte.segment === '1T' && vsidOf(hpte) === 0x1ffffffn).length,
    otherVsids: { entries: 0, bytes: 0, bolted: 0, writable: 0, executable: 0 },
  };
}

const asText = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

/** What single bits of an entry say, also in one that cannot be read. */
function bits(
  entries: readonly { readonly v: bigint; readonly r: bigint }[],
): Pick<
  TableStats,
  | 'secondary'
  | 'bolted'
  | 'referenced'
  | 'changed'
  | 'writable'
  | 'executable'
  | 'segments'
  | 'protections'
  | 'keys'
  | 'wimg'
> {
  const count = (matches: (v: bigint, r: bigint) => boolean): number =>
    entries.filter(({ v, r }) => matches(v, r)).length;
  const pp = (r: bigint): bigint => ((r >> 63n) << 2n) | (r & 3n);
  const key = (r: bigint): bigint => (((r >> 60n) & 3n) << 3n) | ((r >> 9n) & 7n);
  const classes = (length: number, classOf: (r: bigint) => bigint): number[] =>
    Array.from({ length }, (_, k) => count((_v, r) => classOf(r) === BigInt(k)));
  return {
    secondary: count((v) => (v & 2n) !== 0n),
    bolted: count((v) => (v & 0x10n) !== 0n),
    referenced: count((_, r) => (r & 0x100n) !== 0n),
    changed: count((_, r) => (r & 0x80n) !== 0n),
    writable: count((_, r) => pp(r) < 3n),
    executable: count((_, r) => (r & 0xcn) === 0n),
    segments: { '256M': count((v) => v >> 62n === 0n), '1T': count((v) => v >> 62n === 1n) },
    protections: classes(8, pp),
    keys: classes(32, key),
    wimg: classes(16, (r) => (r >> 3n) & 0xfn),
  };
}

function pageSizes(readable: readonly Hpte[]): TableStats['pageSizes'] {
  const shifts = [12, 16, 24, 34] as const;
  return shifts
    .flatMap((basePageShift) =>
      shifts.map((actualPageShift) => ({
        basePageShift,
        actualPageShift,
        entries: readable.filter(
          (hpte) => hpte.basePageShift === basePageShift && hpte.actualPageShift === actualPageShift,
        ).length,
      })),
    )
    .filter(({ entries }) => entries > 0);
}

function vsidOf({ segment, avpn }: Hpte): bigint {
  return segment === '1T' ? avpn >> 17n : avpn >> 5n;
}

function vsids(readable: readonly Hpte[]): VsidStats[] {
  const found = new Map<string, Hpte[]>();
  for (const hpte of readable) {
    const name = `${hpte.segment} ${vsidOf(hpte)}`;
    const others = found.get(name);
    if (others === undefined) found.set(name, [hpte]);
    else others.push(hpte);
  }
  return [...found.values()]
    .map((hptes) => ({
      segment: hptes[0]!.segment,
      vsid: vsidOf(hptes[0]!),
      entries: hptes.length,
      bytes: hptes.reduce((sum, { actualPageShift }) => sum + 2 ** actualPageShift, 0),
      bolted: hptes.filter(({ bolted }) => bolted).length,
      writable: hptes.filter(({ pp }) => pp < 3).length,
      executable: hptes.filter(({ noExecute, wimg }) => !noExecute && (wimg & 1) === 0).length,
    }))
    .sort((a, b) => b.entries - a.entries || Number(a.vsid - b.vsid) || a.segment.localeCompare(b.segment));
}
