import { checkBigint, checkInteger, checkObject, outOfRange } from '../arguments.js';

/**
 * The fields of an HPTE in the layout of the stream (ISA 2.07, whatever the host; kernel-abi.md 7).
 *
 * Hot code works on u32 halves of the two doublewords and the masks below; `Hpte`, `decodeHpte` and
 * `encodeHpte` are the same fields by name, over bigints. Bit numbers in comments count from the least
 * significant bit of the doubleword.
 */

// Masks for the low half of v.
export const HPTE_V_VALID = 0x1;
/** H: the entry lies in the secondary PTEG of its address. */
export const HPTE_V_SECONDARY = 0x2;
/** L: the page size is given by the LP code in r; without it the page is 4K. */
export const HPTE_V_LARGE = 0x4;
/** Left to the guest's software; Linux locks the entry with it. */
export const HPTE_V_SOFTWARE = 0x8;
/** The entry survives a resize of the table, and is all that a BOLTED_ONLY descriptor shows. */
export const HPTE_V_BOLTED = 0x10;
/** Kernel private: valid for the guest, not mapped for the hardware. */
export const HPTE_V_ABSENT = 0x20;
/** Kernel private: the lock, set in every valid entry a host returns (kernel-abi.md 3.1). */
export const HPTE_V_HVLOCK = 0x40;
/** All bits that are the kernel's own: two hosts, and two reads of one, differ in them (kernel-abi.md 3.1). */
export const HPTE_V_PRIVATE = HPTE_V_ABSENT | HPTE_V_HVLOCK;

// Masks for the high half of v.
/** B (segment size, bits 63-62) is 1: the entry belongs to a 1T segment. 0 is 256M, the rest is reserved. */
export const HPTE_V_1TB_HIGH = 0x40000000;
/** Bits 52..61 of v, which POWER9 and later hosts do not keep (kernel-abi.md 3.1). */
export const HPTE_V_LOST_ON_POWER9_HIGH = 0x3ff00000;

// Masks for the low half of r.
export const HPTE_R_PP = 0x3;
/** N: no instruction fetch. */
export const HPTE_R_N = 0x4;
/** W (0x40), I (0x20), M (0x10) and G (0x08): how the page is cached. */
const HPTE_R_WIMG = 0x78;
/** C: the page has been stored to. */
export const HPTE_R_C = 0x80;
/** R: the page has been referenced. */
export const HPTE_R_R = 0x100;
/** Lower three bits of the storage key. */
export const HPTE_R_KEY_LO = 0xe00;

// Masks for the high half of r.
/** pp0, bit 63: makes the page protection three bits wide. */
export const HPTE_R_PP0_HIGH = 0x80000000;
/** Kernel private, bit 62: changed since a reader last took the entry. Never set in the stream. */
export const HPTE_R_MODIFIED_HIGH = 0x40000000;
/** Upper two bits of the storage key. */
export const HPTE_R_KEY_HI_HIGH = 0x30000000;

/** Bytes a segment spans: 2^28 or 2^40. */
export type SegmentSize = '256M' | '1T';

/** log2 of a page's bytes: 4K, 64K, 16M or 16G. */
export type PageShift = 12 | 16 | 24 | 34;

/** Every legal pair of page sizes besides plain 4K, with its LP code: r bits 19-12 where L is set. */
const LP_CODES: readonly { lp: number; lpMask: number; base: PageShift; actual: PageShift }[] = [
  { lp: 0x07, lpMask: 0x0f, base: 12, actual: 16 },
  { lp: 0x38, lpMask: 0xff, base: 12, actual: 24 },
  { lp: 0x01, lpMask: 0x0f, base: 16, actual: 16 },
  { lp: 0x08, lpMask: 0xff, base: 16, actual: 24 },
  { lp: 0x00, lpMask: 0xff, base: 24, actual: 24 },
  { lp: 0x03, lpMask: 0xff, base: 34, actual: 34 },
];

// By LP code; 0 where the code is illegal. Code 0x00 stands for 16M, so 0 cannot be mistaken for a size.
const baseShifts = new Uint8Array(256);
const actualShifts = new Uint8Array(256);
for (const { lp, lpMask, base, actual } of LP_CODES) {
  for (let code = 0; code < 256; code++) {
    if ((code & lpMask) !== lp) continue;
    baseShifts[code] = base;
    actualShifts[code] = actual;
  }
}

/**
 * log2 of the base page size, the one the address is hashed with.
 *
 * @param vLow low half of v
 * @param rLow low half of r
 * @returns 12, 16, 24 or 34; 0 if the LP code is illegal, which every kernel since 4.15 refuses
 */
export function basePageShift(vLow: number, rLow: number): PageShift | 0 {
  if ((vLow & HPTE_V_LARGE) === 0) return 12;
  return baseShifts[(rLow >>> 12) & 0xff] as PageShift | 0;
}

/**
 * log2 of the actual page size, the one that memory is mapped with. Never smaller than the base page.
 *
 * @param vLow low half of v
 * @param rLow low half of r
 * @returns 12, 16, 24 or 34; 0 if the LP code is illegal
 */
export function actualPageShift(vLow: number, rLow: number): PageShift | 0 {
  if ((vLow & HPTE_V_LARGE) === 0) return 12;
  return actualShifts[(rLow >>> 12) & 0xff] as PageShift | 0;
}

/** True where B is 2 or 3: reserved, and refused with EIO by kernels since about 5.16 (kernel-abi.md 3.1). */
export function hasReservedSegment(vHigh: number): boolean {
  return (vHigh & 0x80000000) !== 0;
}

/**
 * Whether two HPTEs are the same but for the bits that are the kernel's own.
 *
 * @param hpte vHigh, vLow, rHigh, rLow
 */
export function sameHpte(
  hpte: Uint32Array,
  vHigh: number,
  vLow: number,
  rHigh: number,
  rLow: number,
): boolean {
  return (
    hpte[0] === vHigh && ((hpte[1]! ^ vLow) & ~HPTE_V_PRIVATE) === 0 && hpte[2] === rHigh && hpte[3] === rLow
  );
}

/** An HPTE by its fields: every bit of both doublewords belongs to exactly one of them. */
export interface Hpte {
  /** V. */
  readonly valid: boolean;
  /** H: the entry lies in the secondary PTEG of its address. */
  readonly secondary: boolean;
  /** v bit 3, left to the guest's software; Linux locks the entry with it. */
  readonly software: boolean;
  readonly bolted: boolean;
  /** v bit 5, kernel private: valid for the guest, not mapped for the hardware. */
  readonly kernelAbsent: boolean;
  /** v bit 6, kernel private: set in every valid entry a host returns, and without meaning there. */
  readonly kernelLock: boolean;
  /** B. */
  readonly segment: SegmentSize;
  /** Virtual address >> 23: 55 bits, of which POWER9 and later keep the lower 45. */
  readonly avpn: bigint;
  /** log2 of the page size the address is hashed with. L and the LP code follow from the two page sizes. */
  readonly basePageShift: PageShift;
  /** log2 of the page size memory is mapped with. */
  readonly actualPageShift: PageShift;
  /** RPN as the guest physical address of the page: a multiple of the actual page size, below 2^60. */
  readonly guestAddress: bigint;
  /** Bits of a 16M or 16G entry's RPN below the page size and above the LP code. Ignored by hardware, kept as written. */
  readonly unusedAddressBits: bigint;
  /**
   * pp0 << 2 | pp, 0..7. Supervisor/user access with Ks = 0, Kp = 1: 0 is RW/-, 1 RW/R, 2 RW/RW, 3 R/R, 6 R/-.
   */
  readonly pp: number;
  /** Storage key, 0..31. */
  readonly key: number;
  /** W << 3 | I << 2 | M << 1 | G, 0..15. */
  readonly wimg: number;
  /** N. */
  readonly noExecute: boolean;
  /** R. */
  readonly referenced: boolean;
  /** C. */
  readonly changed: boolean;
  /** r bit 62, kernel private: changed since a reader last took the entry. Never set in the stream. */
  readonly kernelModified: boolean;
}

/**
 * Takes an HPTE apart.
 *
 * @param v first doubleword, 64 bits
 * @param r second doubleword, 64 bits
 * @returns undefined where B or the LP code is reserved: such an entry means nothing, and no kernel accepts it
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for what is not 64 bits
 */
export function decodeHpte(v: bigint, r: bigint): Hpte | undefined {
  checkBits('v', v, DOUBLEWORD);
  checkBits('r', r, DOUBLEWORD);
  const vHigh = Number(v >> 32n);
  const vLow = Number(v & 0xffffffffn);
  const rHigh = Number(r >> 32n);
  const rLow = Number(r & 0xffffffffn);
  const base = basePageShift(vLow, rLow);
  const actual = actualPageShift(vLow, rLow);
  if (base === 0 || actual === 0 || hasReservedSegment(vHigh)) return undefined;
  const belowPage = pageMask(actual);
  return {
    valid: (vLow & HPTE_V_VALID) !== 0,
    secondary: (vLow & HPTE_V_SECONDARY) !== 0,
    software: (vLow & HPTE_V_SOFTWARE) !== 0,
    bolted: (vLow & HPTE_V_BOLTED) !== 0,
    kernelAbsent: (vLow & HPTE_V_ABSENT) !== 0,
    kernelLock: (vLow & HPTE_V_HVLOCK) !== 0,
    segment: (vHigh & HPTE_V_1TB_HIGH) === 0 ? '256M' : '1T',
    avpn: (v >> 7n) & AVPN_MASK,
    basePageShift: base,
    actualPageShift: actual,
    guestAddress: r & ADDRESS_MASK & ~belowPage,
    unusedAddressBits: r & belowPage & ABOVE_LP,
    pp: ((rHigh & HPTE_R_PP0_HIGH) === 0 ? 0 : 4) | (rLow & HPTE_R_PP),
    key: ((rHigh >>> 25) & 0x18) | ((rLow >>> 9) & 0x7),
    wimg: (rLow & HPTE_R_WIMG) >>> 3,
    noExecute: (rLow & HPTE_R_N) !== 0,
    referenced: (rLow & HPTE_R_R) !== 0,
    changed: (rLow & HPTE_R_C) !== 0,
    kernelModified: (rHigh & HPTE_R_MODIFIED_HIGH) !== 0,
  };
}

/**
 * Puts an HPTE together; the inverse of `decodeHpte`.
 *
 * @param fields what is not given is 0 or false; pages are 4K, the segment is 256M
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for a value that does not fit its field, or page sizes without an LP code
 */
export function encodeHpte(fields: Partial<Hpte>): { v: bigint; r: bigint } {
  checkObject('fields', fields);
  const { avpn = 0n, guestAddress = 0n, unusedAddressBits = 0n, pp = 0, key = 0, wimg = 0 } = fields;
  const base = fields.basePageShift ?? 12;
  const actual = fields.actualPageShift ?? base;
  const large = base !== 12 || actual !== 12;
  const lp = large ? lpCode(base, actual) : 0;
  const belowPage = pageMask(actual);
  checkBits('avpn', avpn, AVPN_MASK);
  checkBits('guestAddress', guestAddress, ADDRESS_MASK & ~belowPage);
  checkBits('unusedAddressBits', unusedAddressBits, belowPage & ABOVE_LP);
  checkInteger('pp', pp, 0, 7);
  checkInteger('key', key, 0, 31);
  checkInteger('wimg', wimg, 0, 15);
  const segment = SEGMENT_BITS.get(fields.segment ?? '256M');
  if (segment === undefined) throw outOfRange('segment', "'256M' or '1T'", fields.segment);

  const vFlags =
    flag(fields.valid, HPTE_V_VALID) |
    flag(fields.secondary, HPTE_V_SECONDARY) |
    flag(large, HPTE_V_LARGE) |
    flag(fields.software, HPTE_V_SOFTWARE) |
    flag(fields.bolted, HPTE_V_BOLTED) |
    flag(fields.kernelAbsent, HPTE_V_ABSENT) |
    flag(fields.kernelLock, HPTE_V_HVLOCK);
  const rHigh =
    flag((pp & 4) !== 0, HPTE_R_PP0_HIGH) |
    flag(fields.kernelModified, HPTE_R_MODIFIED_HIGH) |
    ((key & 0x18) << 25);
  const rLow =
    (lp << 12) |
    ((key & 0x7) << 9) |
    flag(fields.referenced, HPTE_R_R) |
    flag(fields.changed, HPTE_R_C) |
    (wimg << 3) |
    flag(fields.noExecute, HPTE_R_N) |
    (pp & HPTE_R_PP);
  return {
    v: segment | (avpn << 7n) | BigInt(vFlags),
    r: (BigInt(rHigh >>> 0) << 32n) | guestAddress | unusedAddressBits | BigInt(rLow),
  };
}

const DOUBLEWORD = (1n << 64n) - 1n;
const SEGMENT_BITS = new Map<SegmentSize, bigint>([
  ['256M', 0n],
  ['1T', 1n << 62n],
]);
const AVPN_MASK = (1n << 55n) - 1n;
/** r bits 59-12. */
const ADDRESS_MASK = 0x0fff_ffff_ffff_f000n;
/** All bits above those an LP code can take. */
const ABOVE_LP = ~0xfffffn;

function pageMask(shift: PageShift): bigint {
  return (1n << BigInt(shift)) - 1n;
}

function lpCode(base: PageShift, actual: PageShift): number {
  const found = LP_CODES.find((code) => code.base === base && code.actual === actual);
  if (found === undefined) {
    throw outOfRange('actualPageShift', `a size that goes with base page shift ${base}`, actual);
  }
  return found.lp;
}

function flag(set: boolean | undefined, mask: number): number {
  return set === true ? mask : 0;
}

function checkBits(name: string, value: bigint, mask: bigint): void {
  checkBigint(name, value);
  if ((value & mask) !== value) throw outOfRange(name, `made of the bits 0x${mask.toString(16)}`, value);
}
