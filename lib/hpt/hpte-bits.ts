/**
 * The fields of an HPTE in the layout of the stream (ISA 2.07, whatever the host; kernel-abi.md 7).
 *
 * Hot code works on u32 halves of the two doublewords and these masks; `Hpte`, `decodeHpte` and `encodeHpte` are the same
 * fields by name, over bigints. Bit numbers in comments count from the least
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
export const HPTE_R_WIMG = 0x78;
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
