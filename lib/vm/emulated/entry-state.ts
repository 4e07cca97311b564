import { SparseBitmap } from '../../hpt/bitmap.js';
import { entryCount } from '../../hpt/geometry.js';
import { HPTE_R_C, HPTE_R_R } from '../../hpt/hpte-bits.js';
import { HptTable } from '../../hpt/table.js';

/**
 * One table and what the kernel and the hardware know of each entry beside its HPTE (kernel-abi.md 3).
 *
 * The HPTE kept in {@link table} is the guest's view exactly as a read returns it: `v` with the kernel's lock bit set,
 * `r` without bit 62. `table.dirty` holds the entries a later pass reports: those marked modified (M), changed since a
 * reader took them, and those whose hardware bits are {@link pending}.
 */
export class EntryState {
  readonly table: HptTable;
  /** Mapped entries whose hardware R or C the guest's view lacks. */
  readonly pending: SparseBitmap;
  /** Of these, the ones that are modified too. All others that are dirty are modified: most changes set one mark. */
  readonly modifiedToo: SparseBitmap;
  /** Valid to the guest, not mapped for the hardware. */
  readonly absent: SparseBitmap;
  /** R in the hardware's word. */
  readonly referenced: SparseBitmap;
  /** C in the hardware's word. */
  readonly changed: SparseBitmap;

  constructor(order: number) {
    const count = entryCount(order);
    this.table = new HptTable(order);
    this.pending = new SparseBitmap(count);
    this.modifiedToo = new SparseBitmap(count);
    this.absent = new SparseBitmap(count);
    this.referenced = new SparseBitmap(count);
    this.changed = new SparseBitmap(count);
  }

  /** R and C in the hardware's word. */
  hardwareBits(ptex: number): number {
    return (this.referenced.has(ptex) ? HPTE_R_R : 0) | (this.changed.has(ptex) ? HPTE_R_C : 0);
  }

  setHardwareBits(ptex: number, bits: number): void {
    if ((bits & HPTE_R_R) !== 0) this.referenced.add(ptex);
    else this.referenced.delete(ptex);
    if ((bits & HPTE_R_C) !== 0) this.changed.add(ptex);
    else this.changed.delete(ptex);
  }

  isModified(ptex: number): boolean {
    return this.table.dirty.has(ptex) && (!this.pending.has(ptex) || this.modifiedToo.has(ptex));
  }

  setModified(ptex: number): void {
    this.table.dirty.add(ptex);
    if (this.pending.has(ptex)) this.modifiedToo.add(ptex);
  }

  clearModified(ptex: number): void {
    if (this.pending.has(ptex)) this.modifiedToo.delete(ptex);
    else this.table.dirty.delete(ptex);
  }

  /** Brings {@link pending} in line after the hardware's bits or the guest's R and C changed. */
  updatePending(ptex: number, guestLow: number): void {
    const pending = !this.absent.has(ptex) && (this.hardwareBits(ptex) & ~guestLow) !== 0;
    if (!pending) this.clearPending(ptex);
    else if (this.pending.add(ptex) && !this.table.dirty.add(ptex)) this.modifiedToo.add(ptex);
  }

  clearPending(ptex: number): void {
    if (this.pending.delete(ptex) && !this.modifiedToo.delete(ptex)) this.table.dirty.delete(ptex);
  }

  /** Empties the table in place: marks stay, everything else goes (kernel-abi.md 5.1). */
  reset(): void {
    for (let ptex = this.pending.next(0); ptex < this.table.entryCount; ptex = this.pending.next(ptex + 1)) {
      this.clearPending(ptex);
    }
    this.table.clear();
    this.absent.clear();
    this.referenced.clear();
    this.changed.clear();
  }
}

/** Whether the table has an entry of this number. */
export function isEntryOf({ table }: EntryState, ptex: number): boolean {
  return ptex >= 0 && ptex < table.entryCount && Number.isInteger(ptex);
}
