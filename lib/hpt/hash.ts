import { checkBigint, checkInteger, checkObject, outOfRangeError } from '../base/arguments.js';
import { checkOrder, entryCount, groupOf, HPTES_PER_GROUP, ptegCount, slotOf } from './geometry.js';
import { basePageShift, type PageShift } from './page-size.js';
import { hasReservedSegment, HPTE_V_1TB_HIGH, HPTE_V_SECONDARY } from './hpte-bits.js';
import type { SegmentSize } from './hpte.js';

/**
 * From a virtual page to the two PTEGs its entry may lie in, and back (kernel-abi.md 8).
 *
 * Everything here is plain number arithmetic, exact for every order: a VSID has at most 50 bits, an offset 40,
 * a hash 39. Only the bitwise operators stop at 32 bits, hence `xor`.
 */

/** A page of virtual memory, as the hash knows it. */
export interface VirtualPage {
  readonly segment: SegmentSize;
  /** Virtual segment id: 50 bits with 256M segments, 38 with 1T. */
  readonly vsid: bigint;
  /** Byte offset of the page in its segment, a multiple of the base page size. */
  readonly offset: bigint;
  /** log2 of the base page size. */
  readonly basePageShift: PageShift;
}

/** The architecture hashes to 39 bits; a table of order 46 uses them all. */
const HASH_RANGE = 2 ** 39;
const SEGMENT_SIZES: readonly SegmentSize[] = ['256M', '1T'];
const PAGE_SHIFTS: readonly PageShift[] = [12, 16, 24, 34];
/** An AVPN leaves out the address bits below this one. */
const AVPN_SHIFT = 23;

/**
 * The hash of an address, in a form without objects.
 *
 * @param vsid as in `VirtualPage`, as a number
 * @param offset any byte offset within the page's segment
 * @param pageShift log2 of the base page size
 * @returns 39 bits
 */
export function hashAddress(segment: SegmentSize, vsid: number, offset: number, pageShift: number): number {
  return xor(segmentHash(segment === '1T', vsid), Math.floor(offset / 2 ** pageShift));
}

/**
 * The hash of a virtual page, from which {@link primaryGroup} and {@link secondaryGroup} give the PTEGs of a table.
 *
 * @returns 39 bits: an integer in 0..2^39 - 1
 * @throws RangeError (`ERR_OUT_OF_RANGE`) if the page is not one: a segment or page size that does not exist, VSID or
 *   offset too large, offset not on a page boundary, page larger than its segment
 *
 * @example
 * const hash = hashPage({ segment: '1T', vsid: 5n, offset: 0x30000n, basePageShift: 16 });
 * const groups = [primaryGroup(hash, order), secondaryGroup(hash, order)];
 */
export function hashPage(page: VirtualPage): number {
  checkPage(page);
  return hashAddress(page.segment, Number(page.vsid), Number(page.offset), page.basePageShift);
}

/**
 * The PTEG looked at first; an entry there has H = 0.
 *
 * @param hash as {@link hashPage} gives it
 * @returns PTEG number, 0..ptegCount(order) - 1; its entries are ptex group * HPTES_PER_GROUP and the next seven
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order that does not exist
 */
export function primaryGroup(hash: number, order: number): number {
  return hash % ptegCount(order);
}

/**
 * The PTEG looked at second, at the complement of the hash; an entry there has H = 1.
 *
 * @param hash as {@link hashPage} gives it
 * @returns PTEG number, as {@link primaryGroup}
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order that does not exist
 */
export function secondaryGroup(hash: number, order: number): number {
  const groups = ptegCount(order);
  return groups - 1 - (hash % groups);
}

/**
 * B and the AVPN of a virtual page's entry, in their places in v; all other bits of v are 0.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) as `hashPage`
 */
export function encodeAvpn(page: VirtualPage): bigint {
  checkPage(page);
  const avpn = ((page.vsid << BigInt(segmentShift(page.segment))) | page.offset) >> BigInt(AVPN_SHIFT);
  return (page.segment === '1T' ? 1n << 62n : 0n) | (avpn << 7n);
}

/**
 * The virtual page an entry maps, from its fields and its place in the table.
 *
 * @param ptex the entry's index, below the order's entry count
 * @returns undefined where no page can have this entry here: B or the LP code is reserved, the page is larger than
 *   its segment, or the address hashes to another PTEG. A resize can lose such an entry, or crash the host if it
 *   is bolted (kernel-abi.md 5.3).
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order or a ptex that does not exist
 */
export function virtualPageOf(ptex: number, v: bigint, r: bigint, order: number): VirtualPage | undefined {
  checkOrder(order);
  checkInteger('ptex', ptex, 0, entryCount(order) - 1);
  checkBigint('v', v);
  checkBigint('r', r);
  const vHigh = Number(v >> 32n);
  const vLow = Number(v & 0xffffffffn);
  const pageShift = basePageShift(vLow, Number(r & 0xffffffffn));
  const is1T = (vHigh & HPTE_V_1TB_HIGH) !== 0;
  const segment = is1T ? '1T' : '256M';
  if (pageShift === 0 || hasReservedSegment(vHigh) || pageShift > segmentShift(segment)) return undefined;

  const avpnLow = clearBelowPage(vLow, pageShift);
  const vsid = vsidOf(is1T, vHigh, avpnLow);
  let offset = offsetOf(is1T, avpnLow);
  if (pageShift < AVPN_SHIFT) {
    const hashed = hashedBits(is1T, vsid, hashedGroup(ptex, vLow, order), order);
    offset += (hashed % 2 ** (AVPN_SHIFT - pageShift)) * 2 ** pageShift;
  }
  const hash = hashAddress(segment, vsid, offset, pageShift);
  if (primaryGroup(hash, order) !== hashedGroup(ptex, vLow, order)) return undefined;
  return { segment, vsid: BigInt(vsid), offset: BigInt(offset), basePageShift: pageShift };
}

/**
 * Where a resize moves a bolted entry: to the PTEG of the same hash side in the table of the other order, same
 * slot (kernel-abi.md 5.3). Follows the kernel also for an entry in a PTEG that its address does not hash to.
 *
 * @param vHigh high half of v
 * @param vLow low half of v
 * @param rLow low half of r; its LP code must be legal
 * @returns ptex in the table of `newOrder`
 */
export function rehashPtex(
  ptex: number,
  vHigh: number,
  vLow: number,
  rLow: number,
  oldOrder: number,
  newOrder: number,
): number {
  const pageShift = basePageShift(vLow, rLow);
  const is1T = (vHigh & HPTE_V_1TB_HIGH) !== 0;
  const avpnLow = clearBelowPage(vLow, pageShift);
  const vsid = vsidOf(is1T, vHigh, avpnLow);
  let pageIndex = Math.floor(offsetOf(is1T, avpnLow) / 2 ** pageShift);
  if (pageShift < AVPN_SHIFT) {
    // The bits both sources have are ORed, so a misplaced entry lands where the kernel puts it.
    const hashed = hashedBits(is1T, vsid, hashedGroup(ptex, vLow, oldOrder), oldOrder);
    pageIndex = hashed + (pageIndex & ~hashed);
  }
  const hash = xor(segmentHash(is1T, vsid), pageIndex);
  const secondary = (vLow & HPTE_V_SECONDARY) !== 0;
  const group = secondary ? secondaryGroup(hash, newOrder) : primaryGroup(hash, newOrder);
  return group * HPTES_PER_GROUP + slotOf(ptex);
}

/** XOR of two integers below 2^53, to 39 bits. */
function xor(a: number, b: number): number {
  const high = Math.floor(a / 2 ** 32) ^ Math.floor(b / 2 ** 32);
  return (high * 2 ** 32 + ((a ^ b) >>> 0)) % HASH_RANGE;
}

/** What the segment alone puts into the hash. */
function segmentHash(is1T: boolean, vsid: number): number {
  return is1T ? xor(vsid, (vsid * 2 ** 25) % HASH_RANGE) : vsid % HASH_RANGE;
}

/** The primary PTEG an entry's address must hash to, wherever the entry itself is. */
function hashedGroup(ptex: number, vLow: number, order: number): number {
  const group = groupOf(ptex);
  return (vLow & HPTE_V_SECONDARY) === 0 ? group : ptegCount(order) - 1 - group;
}

/** The low bits of the page's index in its segment, recovered from the PTEG: as many as the table's hash has. */
function hashedBits(is1T: boolean, vsid: number, group: number, order: number): number {
  return xor(segmentHash(is1T, vsid) % ptegCount(order), group);
}

/** The low half of v without flags and, for pages of 16M and more, without address bits inside the page. */
function clearBelowPage(vLow: number, pageShift: number): number {
  return vLow & -(1 << (Math.max(pageShift, AVPN_SHIFT) - 16));
}

function vsidOf(is1T: boolean, vHigh: number, avpnLow: number): number {
  const high = vHigh & 0x3fffffff;
  return is1T ? high * 2 ** 8 + (avpnLow >>> 24) : high * 2 ** 20 + (avpnLow >>> 12);
}

/** The part of the offset within the segment that the AVPN holds. */
function offsetOf(is1T: boolean, avpnLow: number): number {
  return ((avpnLow >>> 7) & (is1T ? 0x1ffff : 0x1f)) * 2 ** AVPN_SHIFT;
}

function segmentShift(segment: SegmentSize): number {
  return segment === '1T' ? 40 : 28;
}

function checkPage(page: VirtualPage): void {
  checkObject('page', page);
  const { segment, vsid, offset, basePageShift: pageShift } = page;
  checkBigint('vsid', vsid);
  checkBigint('offset', offset);
  if (!SEGMENT_SIZES.includes(segment)) throw outOfRangeError('segment', "'256M' or '1T'", segment);
  const shift = segmentShift(segment);
  const pageShifts = PAGE_SHIFTS.filter((each) => each <= shift);
  if (!pageShifts.includes(pageShift)) {
    throw outOfRangeError(
      'basePageShift',
      `one of ${pageShifts.join(', ')} in a ${segment} segment`,
      pageShift,
    );
  }
  const vsidBits = BigInt(78 - shift);
  if (vsid < 0n || vsid >> vsidBits !== 0n) throw outOfRangeError('vsid', `in 0..2^${vsidBits} - 1`, vsid);
  const pageMask = (1n << BigInt(pageShift)) - 1n;
  if (offset < 0n || offset >> BigInt(shift) !== 0n || (offset & pageMask) !== 0n) {
    throw outOfRangeError('offset', `a multiple of 2^${pageShift} below 2^${shift}`, offset);
  }
}
