import { checkBigint, checkInteger, checkObject, outOfRangeError } from '../base/arguments.js';
import {
  HPTE_V_VALID,
  HPTE_V_SECONDARY,
  HPTE_V_LARGE,
  HPTE_V_SOFTWARE,
  HPTE_V_BOLTED,
  HPTE_V_ABSENT,
  HPTE_V_HVLOCK,
  HPTE_V_1TB_HIGH,
  HPTE_R_PP,
  HPTE_R_N,
  HPTE_R_WIMG,
  HPTE_R_C,
  HPTE_R_R,
  HPTE_R_PP0_HIGH,
  HPTE_R_MODIFIED_HIGH,
  hasReservedSegment,
} from './hpte-bits.js';
import { actualPageShift, basePageShift, lpCode, type PageShift } from './page-size.js';

/** Bytes a segment spans: 2^28 or 2^40. */
export type SegmentSize = '256M' | '1T';

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
 *
 * @example
 * decodeHpte(0x1001n, 0x10190n)?.changed; // true
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
 *
 * @example
 * encodeHpte({ valid: true, guestAddress: 0x10000n, referenced: true }); // { v: 1n, r: 65792n }
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
  if (segment === undefined) throw outOfRangeError('segment', "'256M' or '1T'", fields.segment);

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

function flag(set: boolean | undefined, mask: number): number {
  return set === true ? mask : 0;
}

function checkBits(name: string, value: bigint, mask: bigint): void {
  checkBigint(name, value);
  if ((value & mask) !== value) throw outOfRangeError(name, `made of the bits 0x${mask.toString(16)}`, value);
}
