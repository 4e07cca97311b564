import { HPTE_V_LARGE, HPTE_V_VALID, hasReservedSegment } from '../hpt/hpte-bits.js';
import { basePageShift } from '../hpt/page-size.js';
import { swapBigEndian } from '../hpt/byte-order.js';

// The loops here look at HPTEs as they stand in the memory of a little-endian machine: byte 0 of an HPTE is the lowest
// of its first word. As u32 words, v has V in 0x0100_0000 and L in 0x0400_0000 of the second, the upper bit of B in
// 0x80 of the first. The masks are literals because V8 does not fold constants of a module into its functions.

/** u32 words of an HPTE. */
export const HPTE_WORDS = 4;

/** HPTEs checked at once in long runs. */
const BLOCK = 8;

/** 1 where the page-size code is illegal, by L << 8 | LP code (kernel-abi.md 7). */
const ILLEGAL_SIZE = Uint8Array.from({ length: 512 }, (_, code) =>
  basePageShift(code < 256 ? 0 : HPTE_V_LARGE, code << 12) === 0 ? 1 : 0,
);

/**
 * True if a kernel takes every HPTE of a run: V set, B 0 or 1, the page-size code legal (kernel-abi.md 4.2, 4.4).
 *
 * @param words the memory they stand in, and `longs` the same memory
 * @param first index in `words` of the first HPTE; even
 */
export function legalRun(words: Uint32Array, longs: BigUint64Array, first: number, count: number): boolean {
  if (count >= BLOCK) return legalBlocks(words, longs, first, count);
  let illegal = 0;
  for (let at = first, end = first + count * HPTE_WORDS; at < end; at += HPTE_WORDS) {
    illegal |= illegalBits(words, at);
  }
  return illegal === 0;
}

/**
 * The same for a run of one or two HPTEs, the usual ones in a sparse table: its first and its last. No branch depends
 * on which it is; guessing wrong cost a fifth of the time of a record.
 */
export function legalPair(words: Uint32Array, first: number, last: number): boolean {
  const firstLow = words[first + 1]!;
  const lastLow = words[last + 1]!;
  const flags = (firstLow & lastLow & 0x0100_0000) | ((words[first]! | words[last]!) & 0x80);
  return (
    ((flags ^ 0x0100_0000) |
      illegalSize(firstLow, words[first + 3]!) |
      illegalSize(lastLow, words[last + 3]!)) ===
    0
  );
}

/**
 * Eight at a time, the last eight overlapping those before them.
 *
 * V8 keeps bigints in registers between loads from a BigUint64Array and `asUintN`: this runs at 21 GB/s where u32 words
 * reach 13. A bigint that leaves the expression, or meets a constant that is no literal, is allocated: forty times slower.
 */
function legalBlocks(words: Uint32Array, longs: BigUint64Array, first: number, count: number): boolean {
  const last = (first >>> 1) + (count - BLOCK) * 2;
  for (let at = first >>> 1; ; at = Math.min(at + BLOCK * 2, last)) {
    const suspect = BigInt.asUintN(
      64,
      ((longs[at]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 2]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 4]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 6]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 8]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 10]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 12]! ^ 0x0100_0000_0000_0000n) |
        (longs[at + 14]! ^ 0x0100_0000_0000_0000n)) &
        0x0500_0000_0000_0080n,
    );
    // Nothing but L set is what large pages look like: then their codes decide.
    if (suspect !== 0n && (suspect !== 0x0400_0000_0000_0000n || !legalSizes(words, at * 2))) return false;
    if (at === last) return true;
  }
}

function legalSizes(words: Uint32Array, first: number): boolean {
  return (
    (illegalSize(words[first + 1]!, words[first + 3]!) |
      illegalSize(words[first + 5]!, words[first + 7]!) |
      illegalSize(words[first + 9]!, words[first + 11]!) |
      illegalSize(words[first + 13]!, words[first + 15]!) |
      illegalSize(words[first + 17]!, words[first + 19]!) |
      illegalSize(words[first + 21]!, words[first + 23]!) |
      illegalSize(words[first + 25]!, words[first + 27]!) |
      illegalSize(words[first + 29]!, words[first + 31]!)) ===
    0
  );
}

function illegalBits(words: Uint32Array, at: number): number {
  const vLow = words[at + 1]!;
  return (((vLow & 0x0100_0000) | (words[at]! & 0x80)) ^ 0x0100_0000) | illegalSize(vLow, words[at + 3]!);
}

function illegalSize(vLow: number, rLow: number): number {
  return ILLEGAL_SIZE[((vLow >>> 18) & 0x100) | ((rLow >>> 20) & 0xf) | ((rLow >>> 4) & 0xf0)]!;
}

/** What is wrong with one HPTE, in words; undefined if nothing is. */
export function whatIsIllegal(words: Uint32Array, at: number): string | undefined {
  const vHigh = swapBigEndian(words[at]!);
  const vLow = swapBigEndian(words[at + 1]!);
  const rLow = swapBigEndian(words[at + 3]!);
  if ((vLow & HPTE_V_VALID) === 0) return 'an entry of a valid run has its V bit clear';
  if (basePageShift(vLow, rLow) === 0) {
    return `an entry has page-size code 0x${((rLow >>> 12) & 0xff).toString(16).padStart(2, '0')}, which is reserved`;
  }
  if (hasReservedSegment(vHigh)) return `an entry has segment code ${vHigh >>> 30}, which is reserved`;
  return undefined;
}
