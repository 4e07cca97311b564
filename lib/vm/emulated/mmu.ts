import {
  HPTE_R_C,
  HPTE_R_MODIFIED_HIGH,
  HPTE_R_PP,
  HPTE_R_PP0_HIGH,
  HPTE_R_R,
  HPTE_V_HVLOCK,
  HPTE_V_LOST_ON_POWER9_HIGH,
  HPTE_V_PRIVATE,
  HPTE_V_VALID,
  hasReservedSegment,
} from '../../hpt/hpte-bits.js';
import { actualPageShift } from '../../hpt/page-size.js';
import type { HostModel } from '../host.js';
import type { EntryState } from './entry-state.js';
import { type PhysicalMemory, frameOf } from './memory.js';

/** Status of a hypercall (kernel-abi.md 6). */
export const H_SUCCESS = 0;
export const H_FUNCTION = -2;
export const H_PARAMETER = -4;
export const H_PTEG_FULL = -6;
export const H_NOT_FOUND = -7;

const RC = HPTE_R_R | HPTE_R_C;
const V_STRIPPED = HPTE_V_VALID | HPTE_V_PRIVATE;

/** vHigh, vLow, rHigh, rLow of an entry. */
export type HpteHalves = Uint32Array;

/** What hypercalls and HTAB writes do to single entries (kernel-abi.md 3, 4.4, 6). Callers have checked the ptex. */
export class Mmu {
  readonly host: HostModel;
  readonly memory: PhysicalMemory;
  /** Open read descriptors: while there are any, changes are marked (kernel-abi.md 3.2). */
  readers = 0;
  readonly #hpte: HpteHalves = new Uint32Array(4);
  /** POWER8 serves these hypercalls in real mode, where its stores to the dirty log are lost (kernel-abi.md 3.3). */
  readonly #hypercallsLog: boolean;

  constructor(host: HostModel, memory: PhysicalMemory) {
    this.host = host;
    this.memory = memory;
    this.#hypercallsLog = host !== 'power8';
  }

  /**
   * H_ENTER into a slot that is free.
   *
   * @param ptex the slot, or H_PTEG_FULL: the kernel looks for it only after it has checked the entry
   * @returns H_SUCCESS, H_PARAMETER or H_PTEG_FULL
   */
  enter(state: EntryState, ptex: number, vHigh: number, vLow: number, rHigh: number, rLow: number): number {
    if (hasReservedSegment(vHigh)) return H_PARAMETER;
    const shift = actualPageShift(vLow, rLow);
    if (shift === 0) return H_PARAMETER;
    const guestHigh = (rHigh & ~HPTE_R_MODIFIED_HIGH) >>> 0;
    const frame = frameOf(guestHigh, rLow, shift);
    const backing = this.memory.backing(frame, shift);
    if (backing === 'misfit') return H_PARAMETER;
    if (ptex < 0) return ptex;
    const present = backing === 'present';

    state.table.store(
      ptex,
      this.host === 'power9' ? (vHigh & ~HPTE_V_LOST_ON_POWER9_HIGH) >>> 0 : vHigh,
      (vLow & ~V_STRIPPED) | HPTE_V_VALID | HPTE_V_HVLOCK,
      guestHigh,
      rLow,
    );
    if (present) state.absent.delete(ptex);
    else state.absent.add(ptex);
    // R and C reach the hardware's word of a mapped entry only if its page has seen them too.
    state.setHardwareBits(ptex, present ? rLow & this.memory.pageBits(frame) : rLow);
    state.clearPending(ptex);
    state.clearModified(ptex);
    this.#noteChange(state, ptex);
    return H_SUCCESS;
  }

  /**
   * Removes a valid entry for a hypercall.
   *
   * @param out holds the entry, and receives it as H_REMOVE returns it: lock bit off, hardware R and C merged
   */
  take(state: EntryState, ptex: number, out: HpteHalves): void {
    this.#take(state, ptex, out, this.#hypercallsLog);
  }

  #take(state: EntryState, ptex: number, out: HpteHalves, logs: boolean): void {
    out[1]! &= ~HPTE_V_HVLOCK;
    if (!state.absent.has(ptex)) {
      const bits = state.hardwareBits(ptex);
      if (bits !== 0) {
        out[3]! |= bits;
        const shift = actualPageShift(out[1]!, out[3]!);
        this.#collect(frameOf(out[2]!, out[3]!, shift), bits, shift, logs);
      }
    }
    state.table.remove(ptex);
    state.absent.delete(ptex);
    state.setHardwareBits(ptex, 0);
    state.clearPending(ptex);
    this.#noteChange(state, ptex);
  }

  /** Removes a valid entry for a write through a descriptor. */
  remove(state: EntryState, ptex: number): void {
    state.table.load(ptex, this.#hpte);
    this.#take(state, ptex, this.#hpte, true);
  }

  /** Replaces protection, key and N of a valid entry; a change even if nothing differs. */
  protect(
    state: EntryState,
    ptex: number,
    clearHigh: number,
    clearLow: number,
    setHigh: number,
    setLow: number,
  ): void {
    const hpte = this.#hpte;
    state.table.load(ptex, hpte);
    state.table.store(
      ptex,
      hpte[0]!,
      hpte[1]!,
      (hpte[2]! & ~clearHigh) | setHigh,
      (hpte[3]! & ~clearLow) | setLow,
    );
    this.#noteChange(state, ptex);
  }

  /**
   * Clears R or C of a valid entry for a hypercall, in the guest's view and in the hardware's word of a mapped one.
   *
   * @param bit HPTE_R_R or HPTE_R_C
   * @param out receives the entry before: rHigh with the mark as bit 62, R and C merged for a mapped entry
   */
  clearBit(state: EntryState, ptex: number, bit: number, out: HpteHalves): void {
    state.table.load(ptex, out);
    const guestLow = out[3]!;
    if (state.isModified(ptex)) out[2]! |= HPTE_R_MODIFIED_HIGH;
    const kept = (guestLow & ~bit) >>> 0;
    if (kept !== guestLow) state.table.store(ptex, out[0]!, out[1]!, out[2]! & ~HPTE_R_MODIFIED_HIGH, kept);
    if (!state.absent.has(ptex)) {
      const hardware = state.hardwareBits(ptex);
      out[3]! |= hardware;
      state.setHardwareBits(ptex, hardware & ~bit);
      if ((hardware & bit) !== 0) {
        const shift = actualPageShift(out[1]!, guestLow);
        const frame = frameOf(out[2]! & ~HPTE_R_MODIFIED_HIGH, guestLow, shift);
        if (bit === HPTE_R_R) this.memory.collect(frame, HPTE_R_R);
        else if (this.#hypercallsLog) this.memory.markDirty(frame, shift);
      }
    }
    if (kept !== guestLow) this.#noteChange(state, ptex);
    state.updatePending(ptex, kept);
  }

  /** The hardware maps an absent entry whose page is now there (kernel-abi.md 3). */
  map(state: EntryState, ptex: number): void {
    const hpte = this.#hpte;
    state.table.load(ptex, hpte);
    const frame = frameOf(hpte[2]!, hpte[3]!, actualPageShift(hpte[1]!, hpte[3]!));
    state.absent.delete(ptex);
    state.setHardwareBits(ptex, hpte[3]! & RC & this.memory.pageBits(frame));
  }

  /** The hardware sets R, and C on a store, in a mapped entry. */
  reference(state: EntryState, ptex: number, store: boolean): void {
    state.referenced.add(ptex);
    if (store) state.changed.add(ptex);
    state.table.load(ptex, this.#hpte);
    state.updatePending(ptex, this.#hpte[3]!);
  }

  /** Unmaps an entry for the hardware, as a resize does: R and C go to the guest's view and to the page. */
  unmap(state: EntryState, ptex: number): void {
    if (state.absent.has(ptex)) return;
    const hpte = this.#hpte;
    state.table.load(ptex, hpte);
    const bits = state.hardwareBits(ptex);
    const shift = actualPageShift(hpte[1]!, hpte[3]!);
    this.#collect(frameOf(hpte[2]!, hpte[3]!, shift), bits, shift, true);
    state.absent.add(ptex);
    state.clearPending(ptex);
    if ((bits & ~hpte[3]!) !== 0) {
      state.table.store(ptex, hpte[0]!, hpte[1]!, hpte[2]!, hpte[3]! | bits);
      this.#noteChange(state, ptex);
    }
  }

  /** Collects C of every mapped entry over one region into the guest's view (KVM_GET_DIRTY_LOG). */
  harvestChanged(state: EntryState, region: number): void {
    const hpte = this.#hpte;
    const { table, changed } = state;
    for (let ptex = changed.next(0); ptex < table.entryCount; ptex = changed.next(ptex + 1)) {
      if (state.absent.has(ptex)) continue;
      table.load(ptex, hpte);
      const shift = actualPageShift(hpte[1]!, hpte[3]!);
      const frame = frameOf(hpte[2]!, hpte[3]!, shift);
      if (this.memory.regionOf(frame) !== region) continue;
      changed.delete(ptex);
      this.memory.markDirty(frame, shift);
      if ((hpte[3]! & HPTE_R_C) === 0) {
        table.store(ptex, hpte[0]!, hpte[1]!, hpte[2]!, hpte[3]! | HPTE_R_C);
        this.#noteChange(state, ptex);
      }
      state.updatePending(ptex, hpte[3]! | HPTE_R_C);
    }
  }

  /** @param logs whether a store that has not been logged goes into the dirty log */
  #collect(frame: number, bits: number, pageShift: number, logs: boolean): void {
    this.memory.collect(frame, bits);
    if (logs && (bits & HPTE_R_C) !== 0) this.memory.markDirty(frame, pageShift);
  }

  #noteChange(state: EntryState, ptex: number): void {
    if (this.readers > 0) state.setModified(ptex);
  }
}

/** Page protection of a privileged access with Ks = 0: 0, 1, 2 allow stores; 3 and pp0 with 2 only loads. */
export function allows(rHigh: number, rLow: number, store: boolean): boolean {
  return !store || ((rHigh & HPTE_R_PP0_HIGH) === 0 && (rLow & HPTE_R_PP) !== 3);
}
