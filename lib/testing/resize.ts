import type { HtabVm } from '../vm/contract.js';
import { sleep } from '../base/time.js';

/**
 * Prepares a table of this order and waits until it is ready. The kernel's answer is a wait it suggests, but nothing
 * it needs; asking every millisecond ends soonest (kernel-abi.md 5.2).
 *
 * @throws HtabSystemError as `HtabVm.prepareHptResize`
 */
export async function prepareTable(vm: HtabVm, order: number): Promise<void> {
  while ((await vm.prepareHptResize(order)) > 0) await sleep(1);
}

/**
 * Resizes the table as the kernel does, with no look at its entries: prepares, waits, commits. Unlike `resizeHpt` it takes
 * no marks of change away, and can crash a real kernel.
 *
 * @throws HtabSystemError as `HtabVm.prepareHptResize` and `HtabVm.commitHptResize`
 */
export async function resizeTable(vm: HtabVm, order: number): Promise<void> {
  await prepareTable(vm, order);
  await vm.commitHptResize(order);
}
