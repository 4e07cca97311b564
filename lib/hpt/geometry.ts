import { checkInteger } from '../base/arguments.js';

/** Smallest table order KVM accepts: 256 KiB, 16,384 entries (kernel-abi.md 1.4). */
export const MIN_ORDER = 18;
/**
 * Largest table order KVM accepts: 64 TiB, 2^42 entries. From 37 on `HptReader` and the streams refuse the table, and
 * `KVM_PPC_ALLOCATE_HTAB` may answer ENOMEM, having freed the old table first.
 */
export const MAX_ORDER = 46;
/** Largest order the record stream can address: its entry index has 32 bits (kernel-abi.md 2.1). */
export const MAX_STREAM_ORDER = 36;

/** Bytes of one hashed page table entry, in memory and in the stream. */
export const HPTE_BYTES = 16;
/** Entries of one page table entry group (PTEG), the unit a hash leads to. */
export const HPTES_PER_GROUP = 8;

/**
 * Refuses an order that KVM, or the caller, cannot take.
 *
 * @param order log2 of the table's bytes
 * @param max largest order allowed: `MAX_ORDER`, or `MAX_STREAM_ORDER` where entries are addressed through the stream
 * @throws RangeError (`ERR_OUT_OF_RANGE`) unless `order` is an integer in `MIN_ORDER..max`
 */
export function checkOrder(order: number, max: number = MAX_ORDER): void {
  checkInteger('order', order, MIN_ORDER, max);
}

// Powers of two by arithmetic, not by shifts: a shift count wraps at 32 and its result at 2^31.

/**
 * Bytes of a table of this order: 2^order, 2^18..2^46.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order that does not exist
 */
export function tableBytes(order: number): number {
  checkOrder(order);
  return 2 ** order;
}

/**
 * Entries in a table of this order: 2^(order - 4), 2^14..2^42. Their indices, ptexes, are 0..entryCount(order) - 1.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order that does not exist
 */
export function entryCount(order: number): number {
  checkOrder(order);
  return 2 ** (order - 4);
}

/**
 * PTEGs in a table of this order: 2^(order - 7), 2^11..2^39. Each is {@link HPTES_PER_GROUP} entries: those of PTEG
 * `group` are ptex `group * HPTES_PER_GROUP` and the next seven.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order that does not exist
 */
export function ptegCount(order: number): number {
  checkOrder(order);
  return 2 ** (order - 7);
}

/** The PTEG an entry lies in. */
export function groupOf(ptex: number): number {
  return Math.floor(ptex / HPTES_PER_GROUP);
}

/** The entry's place in its PTEG, 0..7. */
export function slotOf(ptex: number): number {
  return ptex % HPTES_PER_GROUP;
}
