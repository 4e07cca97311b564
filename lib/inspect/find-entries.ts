import {
  checkBigint,
  checkInteger,
  checkObject,
  invalidTypeError,
  outOfRangeError,
} from '../base/arguments.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import { forEachValid } from '../hpt/entries.js';
import { HPTES_PER_GROUP } from '../hpt/geometry.js';
import { encodeAvpn, hashPage, primaryGroup, secondaryGroup, type VirtualPage } from '../hpt/hash.js';
import type { SegmentSize } from '../hpt/hpte.js';
import { HPTE_V_SECONDARY } from '../hpt/hpte-bits.js';
import type { PageShift } from '../hpt/page-size.js';
import { highHalf, lowHalf } from '../hpt/halves.js';
import { checkTable, type HptTable } from '../hpt/table.js';
import { linuxPage, MAX_CONTEXT } from './linux-address.js';
import { ACTUAL_SHIFTS, BASE_SHIFTS, PAGE_MASKS, sizeCode } from './page-sizes.js';

/** What to look for: an address of a Linux guest, a place in a segment, or a guest physical address. */
export type EntryQuery =
  | {
      readonly effectiveAddress: bigint;
      /** As `linuxAddress` gives it; 0 is the VRMA. */
      readonly context: number;
    }
  | {
      readonly vsid: bigint;
      /** Any byte offset in the segment. */
      readonly offset: bigint;
    }
  | { readonly guestAddress: bigint };

/** A valid entry of a table. */
export interface FoundEntry {
  readonly ptex: number;
  readonly v: bigint;
  readonly r: bigint;
}

const SEGMENTS: readonly SegmentSize[] = ['256M', '1T'];
const PAGE_SHIFTS: readonly PageShift[] = [12, 16, 24, 34];
const SEGMENT_BYTES: Readonly<Record<SegmentSize, bigint>> = { '256M': 1n << 28n, '1T': 1n << 40n };
const VSID_BITS: Readonly<Record<SegmentSize, bigint>> = { '256M': 50n, '1T': 38n };
const ADDRESS_BITS = 60n;

/**
 * Finds the valid entries that map an address, ascending.
 *
 * An address of a segment is looked up by its hash, in every page and segment size: misplaced entries are not found, nor by the
 * hardware. A guest physical address has no hash: all valid entries are looked at.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an address, context or VSID that does not exist
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) for a query of none of these kinds
 *
 * @example
 * const [entry] = findEntries(table, { effectiveAddress: 0xc000000000000000n, context: 1 });
 */
export function findEntries(table: HptTable, query: EntryQuery): FoundEntry[] {
  checkTable('table', table);
  checkObject('query', query);
  if ('guestAddress' in query) return findMapping(table, query.guestAddress);
  const found = pagesOf(query).flatMap((page) => findPage(table, page));
  return found.sort((a, b) => a.ptex - b.ptex);
}

/** Each page that can hold the address: of every segment size and base page size. */
function pagesOf(query: Exclude<EntryQuery, { readonly guestAddress: bigint }>): VirtualPage[] {
  const sizes = SEGMENTS.flatMap((segment) =>
    PAGE_SHIFTS.filter((shift) => 1n << BigInt(shift) <= SEGMENT_BYTES[segment]).map((shift) => ({
      segment,
      basePageShift: shift,
    })),
  );
  if ('effectiveAddress' in query) {
    const { effectiveAddress, context } = query;
    checkInteger('context', context, 0, MAX_CONTEXT);
    const segments = context === 0 ? sizes.filter(({ segment }) => segment === '1T') : sizes;
    return segments.map((size) => linuxPage({ effectiveAddress, context, ...size }));
  }
  if (!('vsid' in query)) {
    throw invalidTypeError(
      'query',
      'an object with effectiveAddress and context, vsid and offset, or guestAddress',
      query,
    );
  }
  const { vsid, offset } = query;
  checkBigint('vsid', vsid);
  checkBigint('offset', offset);
  if (vsid < 0n || vsid >> VSID_BITS['256M'] !== 0n) throw outOfRangeError('vsid', 'in 0..2^50 - 1', vsid);
  if (offset < 0n || offset >= SEGMENT_BYTES['1T']) throw outOfRangeError('offset', 'in 0..2^40 - 1', offset);
  return sizes
    .filter(({ segment }) => vsid >> VSID_BITS[segment] === 0n && offset < SEGMENT_BYTES[segment])
    .map((size) => ({ ...size, vsid, offset: offset & -(1n << BigInt(size.basePageShift)) }));
}

function findPage(table: HptTable, page: VirtualPage): FoundEntry[] {
  const hash = hashPage(page);
  const avpn = encodeAvpn(page);
  return [
    ...findInGroup(table, primaryGroup(hash, table.order), avpn, page.basePageShift),
    ...findInGroup(
      table,
      secondaryGroup(hash, table.order),
      avpn | BigInt(HPTE_V_SECONDARY),
      page.basePageShift,
    ),
  ];
}

function findInGroup(table: HptTable, group: number, wanted: bigint, basePageShift: number): FoundEntry[] {
  const found: FoundEntry[] = [];
  for (let slot = 0; slot < HPTES_PER_GROUP; slot++) {
    const ptex = group * HPTES_PER_GROUP + slot;
    const hpte = table.get(ptex);
    if (hpte === undefined) continue;
    const code = sizeCode(lowHalf(hpte.v), lowHalf(hpte.r));
    const page = (hpte.v & ~0xffffffffn) | BigInt((lowHalf(hpte.v) & PAGE_MASKS[code]!) >>> 0);
    if (BASE_SHIFTS[code] === basePageShift && page === wanted) found.push({ ptex, ...hpte });
  }
  return found;
}

function findMapping(table: HptTable, guestAddress: bigint): FoundEntry[] {
  checkBigint('guestAddress', guestAddress);
  if (guestAddress < 0n || guestAddress >> ADDRESS_BITS !== 0n) {
    throw outOfRangeError('guestAddress', 'in 0..2^60 - 1', guestAddress);
  }
  const high = highHalf(guestAddress);
  const low = lowHalf(guestAddress);
  const found: FoundEntry[] = [];
  forEachValid(table, (ptex, words, word) => {
    const rLow = swapBigEndian(words[word + 3]!);
    const shift = ACTUAL_SHIFTS[sizeCode(swapBigEndian(words[word + 1]!), rLow)]!;
    if (shift === 0) return;
    const highMask = (0x0fffffff >>> Math.max(shift - 32, 0)) << Math.max(shift - 32, 0);
    const lowMask = shift < 32 ? -1 << shift : 0;
    if (((rLow ^ low) & lowMask) !== 0 || ((swapBigEndian(words[word + 2]!) ^ high) & highMask) !== 0) return;
    found.push({ ptex, ...table.get(ptex)! });
  });
  return found;
}
