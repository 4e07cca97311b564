import { HPTE_V_LARGE, HPTE_V_SECONDARY } from '../hpt/hpte-bits.js';
import { actualPageShift, basePageShift } from '../hpt/page-size.js';

/** Numbers a {@link sizeCode} can be. */
export const SIZE_CODES = 257;
/** The code of an entry without L. */
const SMALL = 256;

/** What in an entry decides on its page sizes: its LP code if L is set. */
export function sizeCode(vLow: number, rLow: number): number {
  return (vLow & HPTE_V_LARGE) === 0 ? SMALL : (rLow >>> 12) & 0xff;
}

const codes = Array.from({ length: SIZE_CODES }, (_, code) => code);
const vLowOf = (code: number): number => (code === SMALL ? 0 : HPTE_V_LARGE);

/** log2 of the base page size, by code; 0 where the code is illegal. */
export const BASE_SHIFTS = Uint8Array.from(codes, (code) => basePageShift(vLowOf(code), code << 12));
/** log2 of the actual page size, by code; 0 where the code is illegal. */
export const ACTUAL_SHIFTS = Uint8Array.from(codes, (code) => actualPageShift(vLowOf(code), code << 12));
/**
 * What of v's low half tells which page the entry is of, and by which hash, by code: without flags and, for large pages, without
 * address bits inside the page.
 */
export const PAGE_MASKS = Int32Array.from(
  BASE_SHIFTS,
  (shift) => -(1 << (Math.max(shift, 23) - 16)) | HPTE_V_SECONDARY,
);
