import { checkInteger, checkOneOf } from '../base/arguments.js';
import { MAX_ORDER, MIN_ORDER } from '../hpt/geometry.js';

/** Orders that a guest's table is given for its memory. */
export interface OrderAdvice {
  /** What Linux asks for: a group for two pages, so 64 bytes of table a page. */
  readonly linux: number;
  /** What QEMU allocates: a table of 1/128 of the memory. */
  readonly qemu: number;
}

/** log2 of the bytes of table that Linux wants for two pages: a group of 8 entries. */
const GROUP_SHIFT = 7;
const QEMU_SHIFT = 7;
/** Most memory that has an order: 2^53 bytes are 8 PiB. */
const MAX_MEMORY = Number.MAX_SAFE_INTEGER;

/**
 * The orders that Linux and QEMU choose for a guest. Both round the memory up to a power of two.
 *
 * @param memoryBytes of the guest
 * @param pageSize of its kernel
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for memory that is not a whole number of bytes, 1..2^53 - 1
 *
 * @example
 * adviseOrder(64 * 2 ** 30); // { linux: 26, qemu: 29 }
 */
export function adviseOrder(memoryBytes: number, pageSize: '4K' | '64K' = '64K'): OrderAdvice {
  checkInteger('memoryBytes', memoryBytes, 1, MAX_MEMORY);
  checkOneOf('pageSize', pageSize, ['4K', '64K']);
  const memoryShift = Math.ceil(Math.log2(memoryBytes));
  const pageShift = pageSize === '4K' ? 12 : 16;
  return {
    linux: within(memoryShift - (pageShift + 1) + GROUP_SHIFT),
    qemu: within(memoryShift - QEMU_SHIFT),
  };
}

function within(order: number): number {
  return Math.min(Math.max(order, MIN_ORDER), MAX_ORDER);
}
