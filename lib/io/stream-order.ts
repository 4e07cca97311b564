import { invalidValueError, outOfRangeError } from '../base/arguments.js';
import { HtabUnavailableError } from '../base/errors.js';
import { MAX_STREAM_ORDER, checkOrder } from '../hpt/geometry.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { isVm } from './vm-or-handle.js';

/**
 * The order of the VM's table; where the VM does not know it, the order given.
 *
 * @throws RangeError if `given` is not the VM's own order, or outside 18..36
 * @throws HtabUnavailableError (`unsupported`) above 36: the kernel would cut entry indices to 32 bits (kernel-abi.md 2.1)
 */
export function streamOrder(vm: HtabVm, given?: number): number | undefined {
  if (given !== undefined) checkOrder(given, MAX_STREAM_ORDER);
  const order = vm.hptOrder;
  if (order === undefined) return given;
  if (order > MAX_STREAM_ORDER) {
    throw new HtabUnavailableError(
      'unsupported',
      `the table has order ${order}, and an HTAB descriptor cannot name the entries of tables above order ${MAX_STREAM_ORDER}`,
      `give the guest a table of order ${MAX_STREAM_ORDER} or less`,
    );
  }
  if (given !== undefined && given !== order)
    throw outOfRangeError('order', `${order}, as the VM's table`, given);
  return order;
}

/**
 * {@link streamOrder} for what cannot go on without it.
 *
 * @throws TypeError for a descriptor without an order
 * @throws HtabUnavailableError `no-table` for a VM without a table, or one that does not know its order
 * @throws as {@link streamOrder}
 */
export function knownOrder(source: HtabVm | HtabHandle, given?: number): number {
  const order = isVm(source) ? streamOrder(source, given) : given;
  if (order !== undefined) return order;
  if (isVm(source)) {
    throw new HtabUnavailableError(
      'no-table',
      'the VM has no hashed page table, or does not know its order',
      'a radix guest moves with its memory alone; KvmVm.fromFd takes the order of a table',
    );
  }
  throw invalidValueError(
    'The "order" option is required: a descriptor does not tell the order of its table',
    'order',
  );
}
