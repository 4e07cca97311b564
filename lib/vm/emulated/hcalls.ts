import {
  HPTE_R_C,
  HPTE_R_KEY_HI_HIGH,
  HPTE_R_KEY_LO,
  HPTE_R_N,
  HPTE_R_PP,
  HPTE_R_PP0_HIGH,
  HPTE_R_R,
  HPTE_V_ABSENT,
  HPTE_V_HVLOCK,
  HPTE_V_VALID,
} from '../../hpt/hpte-bits.js';
import { lowestBit } from '../../hpt/bitmap.js';
import { highHalf, joinHalves, lowHalf } from '../../hpt/halves.js';
import { type EntryState, isEntryOf } from './entry-state.js';
import type { Guest } from './guest.js';
import { H_FUNCTION, H_NOT_FOUND, H_PARAMETER, H_PTEG_FULL, H_SUCCESS } from './mmu.js';

/** Hypercalls on the hashed page table (PAPR; kernel-abi.md 6). */
export const H_REMOVE = 0x04;
export const H_ENTER = 0x08;
export const H_READ = 0x0c;
export const H_CLEAR_MOD = 0x10;
export const H_CLEAR_REF = 0x14;
export const H_PROTECT = 0x18;
export const H_BULK_REMOVE = 0x124;

/** Flags, low half of their doubleword: H_REMOVE and H_PROTECT match the AVPN, H_REMOVE tests bits of `v`. */
export const H_AVPN = 0x80000000;
export const H_ANDCOND = 0x40000000;
/** Flags, high half: H_ENTER takes the very slot, H_READ reads four entries. */
export const H_EXACT_HIGH = 0x80;
export const H_READ_4_HIGH = 0x20;

/** Bits of `v` an AVPN comparison looks at, low half: B and AVPN, not the flags. */
const V_COMPARED_LOW = 0xffffff80;
const PROTECT_HIGH = HPTE_R_PP0_HIGH | HPTE_R_KEY_HI_HIGH;
const PROTECT_LOW = HPTE_R_KEY_LO | HPTE_R_N | HPTE_R_PP;
const REGISTERS = 8;

/** The hypercalls of a guest in 32-bit halves, without an object or a bigint per call; `hcall` is the same as a guest sees it. */
export class Hypercalls {
  readonly #guest: Guest;
  /** The entry the last call returned: vHigh, vLow, rHigh, rLow. */
  readonly entry: Uint32Array = new Uint32Array(4);

  /** @internal */
  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /**
   * H_ENTER.
   *
   * @param flagsHigh high half of the flags: H_EXACT_HIGH is the only one that matters
   * @returns ptex of the entry made, or a negative status
   */
  enter(flagsHigh: number, ptex: number, vHigh: number, vLow: number, rHigh: number, rLow: number): number {
    const entries = this.#entries(ptex);
    if (typeof entries === 'number') return entries;
    const slot = (flagsHigh & H_EXACT_HIGH) !== 0 ? this.#exact(entries, ptex) : this.#free(entries, ptex);
    const status = this.#guest.mmu.enter(entries, slot, vHigh, vLow, rHigh, rLow);
    return status === H_SUCCESS ? slot : status;
  }

  /**
   * H_REMOVE; the entry as it was stands in {@link entry}.
   *
   * @param flags low half: H_AVPN, H_ANDCOND
   */
  remove(flags: number, ptex: number, avpnHigh: number, avpnLow: number): number {
    const entries = this.#entries(ptex);
    if (typeof entries === 'number') return entries;
    if (!this.#matches(entries, flags, ptex, avpnHigh, avpnLow)) return H_NOT_FOUND;
    this.#guest.mmu.take(entries, ptex, this.entry);
    return H_SUCCESS;
  }

  /** H_PROTECT: pp0, storage key, N and pp of the entry become those of the flags' low half. */
  protect(flags: number, ptex: number, avpnHigh: number, avpnLow: number): number {
    const entries = this.#entries(ptex);
    if (typeof entries === 'number') return entries;
    if (!this.#matches(entries, flags & H_AVPN, ptex, avpnHigh, avpnLow)) return H_NOT_FOUND;
    const setHigh = ((flags << 23) & HPTE_R_PP0_HIGH) | ((flags << 16) & HPTE_R_KEY_HI_HIGH);
    this.#guest.mmu.protect(entries, ptex, PROTECT_HIGH, PROTECT_LOW, setHigh, flags & PROTECT_LOW);
    return H_SUCCESS;
  }

  /** H_READ of one entry into {@link entry}; an entry that is not valid reads as zeros. */
  read(ptex: number): number {
    const entries = this.#entries(ptex);
    if (typeof entries === 'number') return entries;
    if (entries.table.load(ptex, this.entry)) {
      this.entry[1]! &= ~HPTE_V_HVLOCK;
      // Also of an absent entry: its hardware word keeps what it was entered with.
      this.entry[3]! |= entries.hardwareBits(ptex);
    } else {
      this.entry.fill(0);
    }
    return H_SUCCESS;
  }

  /** H_CLEAR_REF (`bit` HPTE_R_R) or H_CLEAR_MOD (HPTE_R_C); r before it, the mark as bit 62, stands in {@link entry}. */
  clear(bit: number, ptex: number): number {
    const entries = this.#entries(ptex);
    if (typeof entries === 'number') return entries;
    if (!entries.table.has(ptex)) return H_NOT_FOUND;
    this.#guest.mmu.clearBit(entries, ptex, bit, this.entry);
    return H_SUCCESS;
  }

  /**
   * Any of the hypercalls, as the guest makes it.
   *
   * @param args r4 and on; missing ones are 0
   * @returns r3 (the status, as 64 unsigned bits), then r4..r11; registers the call does not define keep their input
   */
  hcall(opcode: number, args: readonly bigint[]): bigint[] {
    const registers = Array.from({ length: REGISTERS }, (_, index) => BigInt.asUintN(64, args[index] ?? 0n));
    return [BigInt.asUintN(64, BigInt(this.#dispatch(opcode, registers))), ...registers];
  }

  #dispatch(opcode: number, registers: bigint[]): number {
    const [r4 = 0n, r5 = 0n, r6 = 0n, r7 = 0n] = registers;
    if (this.#guest.radix) return H_FUNCTION;
    if (opcode === H_BULK_REMOVE) return this.#bulkRemove(registers);
    // No table has an index that a number cannot hold.
    const ptex = Number(r5);
    switch (opcode) {
      case H_ENTER: {
        const slot = this.enter(highHalf(r4), ptex, highHalf(r6), lowHalf(r6), highHalf(r7), lowHalf(r7));
        if (slot < 0) return slot;
        registers[0] = BigInt(slot);
        return H_SUCCESS;
      }
      case H_REMOVE: {
        const status = this.remove(lowHalf(r4), ptex, highHalf(r6), lowHalf(r6));
        if (status === H_SUCCESS) this.#returnEntry(registers, 0);
        return status;
      }
      case H_PROTECT:
        return this.protect(lowHalf(r4), ptex, highHalf(r6), lowHalf(r6));
      case H_READ: {
        const four = (highHalf(r4) & H_READ_4_HIGH) !== 0;
        const first = four ? ptex - (ptex % 4) : ptex;
        for (let index = 0; index < (four ? 4 : 1); index++) {
          const status = this.read(first + index);
          if (status !== H_SUCCESS) return status;
          this.#returnEntry(registers, index * 2);
        }
        return H_SUCCESS;
      }
      case H_CLEAR_REF:
      case H_CLEAR_MOD: {
        const status = this.clear(opcode === H_CLEAR_REF ? HPTE_R_R : HPTE_R_C, ptex);
        if (status === H_SUCCESS) registers[0] = joinHalves(this.entry[2]!, this.entry[3]!);
        return status;
      }
      default:
        return H_FUNCTION;
    }
  }

  /** Up to four (request, value) pairs; each request's answer replaces it in its register. */
  #bulkRemove(registers: bigint[]): number {
    for (let pair = 0; pair < REGISTERS; pair += 2) {
      const request = registers[pair]!;
      const value = registers[pair + 1]!;
      const type = Number(request >> 62n);
      const flags = Number((request >> 56n) & 3n);
      const index = BigInt.asUintN(56, request);
      if (type === 3) return H_SUCCESS;
      const answer = (status: number): bigint => (BigInt(status | flags) << 56n) | index;
      if (type !== 1 || flags === 3 || index >= BigInt(this.#guest.entries?.table.entryCount ?? 0)) {
        registers[pair] = answer(0xa0);
        return H_PARAMETER;
      }
      const conditions = [0, H_ANDCOND, H_AVPN][flags]!;
      if (this.remove(conditions, Number(index), highHalf(value), lowHalf(value)) === H_SUCCESS) {
        const collected = this.entry[3]! & (HPTE_R_R | HPTE_R_C);
        registers[pair] = answer(0x80) | (BigInt(collected) << 51n);
      } else {
        registers[pair] = answer(0x90);
      }
    }
    return H_SUCCESS;
  }

  #entries(ptex: number): EntryState | number {
    if (this.#guest.radix) return H_FUNCTION;
    const { entries } = this.#guest;
    return entries !== undefined && isEntryOf(entries, ptex) ? entries : H_PARAMETER;
  }

  #exact(entries: EntryState, ptex: number): number {
    return entries.table.has(ptex) ? H_PTEG_FULL : ptex;
  }

  /** The lowest free slot of the PTEG that `ptex` lies in. */
  #free(entries: EntryState, ptex: number): number {
    const first = ptex - (ptex & 7);
    const free = ~entries.table.valid.word(first) & (0xff << (first & 31));
    return free === 0 ? H_PTEG_FULL : first - (first & 31) + lowestBit(free);
  }

  /** Whether the entry is valid and meets the conditions of an H_REMOVE or H_PROTECT. */
  #matches(entries: EntryState, flags: number, ptex: number, avpnHigh: number, avpnLow: number): boolean {
    const entry = this.entry;
    if (!entries.table.load(ptex, entry)) return false;
    const vHigh = entry[0]!;
    const vLow = entry[1]!;
    if ((flags & H_AVPN) !== 0 && (vHigh !== avpnHigh || (vLow & V_COMPARED_LOW) >>> 0 !== avpnLow))
      return false;
    if ((flags & H_ANDCOND) === 0) return true;
    // The test sees the kernel's own bits: the lock, and ABSENT in VALID's place.
    const seen = entries.absent.has(ptex) ? (vLow & ~HPTE_V_VALID) | HPTE_V_ABSENT : vLow;
    return (vHigh & avpnHigh) === 0 && (seen & avpnLow) === 0;
  }

  #returnEntry(registers: bigint[], at: number): void {
    registers[at] = joinHalves(this.entry[0]!, this.entry[1]!);
    registers[at + 1] = joinHalves(this.entry[2]!, this.entry[3]!);
  }
}
