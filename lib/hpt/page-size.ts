import { outOfRangeError } from '../base/arguments.js';
import { HPTE_V_LARGE } from './hpte-bits.js';

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

/**
 * The LP code of a pair of page sizes.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) if they have none
 */
export function lpCode(base: PageShift, actual: PageShift): number {
  const found = LP_CODES.find((code) => code.base === base && code.actual === actual);
  if (found === undefined) {
    throw outOfRangeError('actualPageShift', `a size that goes with base page shift ${base}`, actual);
  }
  return found.lp;
}
