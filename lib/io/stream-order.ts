import { outOfRange } from '../arguments.js';
import { HtabUnavailableError } from '../errors.js';
import { MAX_STREAM_ORDER, checkOrder } from '../hpt/geometry.js';
import type { HtabVm } from '../vm/contract.js';

/**
 * The order of the VM's table; where the VM does not know it, what the caller says.
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
  if (given !== undefined && given !== order) throw outOfRange('order', `${order}, as the VM's table`, given);
  return order;
}
