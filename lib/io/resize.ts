import { checkOptions, invalidValue, invalidType } from '../arguments.js';
import { HtabStateError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import { MAX_STREAM_ORDER, checkOrder, entryCount } from '../hpt/geometry.js';
import { HPTE_V_BOLTED } from '../hpt/hpte.js';
import { ResizeTargets } from '../hpt/resize-targets.js';
import { swapBigEndian } from '../hpt/wire.js';
import type { HtabVm } from '../vm/contract.js';
import { pause } from '../node/waiting.js';
import { HptReader } from './reader.js';
import { streamOrder } from './stream-order.js';
import { isVm } from './vm-or-handle.js';

/**
 * Resizes a VM's table: prepares another, waits for it, checks that the kernel will survive the move, commits. Bolted
 * entries move to their place in the other table; all others are dropped, and the guest enters them anew
 * (kernel-abi.md 5.3). If it fails the old table stays, and nothing remains prepared.
 *
 * The guest must be paused: the kernel crashes where two bolted entries would meet, and what a running guest enters
 * after the check is not seen by it. Close readers before and open new ones after: the check takes marks of change away,
 * as every reading does, and the resize loses reference and change bits that no reader has collected
 * (kernel-abi.md 0, traps 11 and 12).
 *
 * @param order of the new table, 18..36: the entries of larger ones cannot be named by the stream
 * @throws HtabStateError `would-crash` naming the two entries; `busy` while an `HptReader` is open on the VM;
 *   `order-changed` if the table is not of the order the VM object says
 * @throws HtabSystemError ENOMEM without memory for it; ENOSPC if two bolted entries would meet in a smaller table; EIO
 *   before the guest has run or been given a real-mode area; EBUSY if the kernel is not ready although it has said so
 * @throws HtabUnavailableError `unsupported` if the table's order is above 36: its entries cannot be looked at
 * @throws RangeError for an order outside 18..36
 * @throws TypeError if the VM does not know its table's order: give it to `KvmVm.fromFd`
 * @throws the signal's reason
 */
export async function resizeHpt(
  vm: HtabVm,
  order: number,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  if (!isVm(vm)) throw invalidType('vm', 'an HtabVm', vm);
  checkOptions(options);
  const { signal } = options;
  checkOrder(order, MAX_STREAM_ORDER);
  const oldOrder = streamOrder(vm);
  if (oldOrder === undefined) {
    throw invalidValue('The "vm" argument has no table, or does not know its order');
  }
  signal?.throwIfAborted();
  try {
    for (let waitMs; (waitMs = await vm.prepareHptResize(order)) > 0;) {
      await pause(waitMs, signal);
    }
    await checkPlacement(vm, oldOrder, order, signal);
  } catch (error) {
    await cancel(vm);
    throw error;
  }
  // Whatever it answers, nothing is prepared after it.
  await vm.commitHptResize(order);
}

/** Reads the bolted entries, as the kernel will see them, and refuses a resize that would crash it. */
async function checkPlacement(
  vm: HtabVm,
  oldOrder: number,
  order: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const targets = new ResizeTargets(oldOrder, order);
  const cursor = new RecordCursor({ order: oldOrder });
  await using reader = await HptReader.open(vm, { boltedOnly: true });
  let entries = 0;
  for await (const chunk of reader.pass({ signal })) {
    cursor.push(chunk);
    while (cursor.next()) {
      entries += cursor.validCount + cursor.invalidCount;
      // Into a smaller table the kernel looks for itself, and says ENOSPC.
      if (order >= oldOrder) addRecord(targets, cursor);
    }
  }
  cursor.finish();
  // A guest can have resized its table behind this VM object's back; which order is the smaller one is not known then.
  if (entries !== entryCount(oldOrder)) {
    throw new HtabStateError(
      'order-changed',
      `the table has ${entries} entries, not the ${entryCount(oldOrder)} of order ${oldOrder}; nothing was resized`,
    );
  }
}

function addRecord(targets: ResizeTargets, { index, validCount, words, wordOffset }: RecordCursor): void {
  for (let entry = 0; entry < validCount; entry++) {
    const at = wordOffset + entry * 4;
    const vLow = swapBigEndian(words[at + 1]!);
    if ((vLow & HPTE_V_BOLTED) === 0) continue;
    targets.add(index + entry, swapBigEndian(words[at]!), vLow, swapBigEndian(words[at + 3]!));
  }
}

/** An abandoned preparation keeps its memory until the next one. */
async function cancel(vm: HtabVm): Promise<void> {
  // What went wrong before is the error to report; a VM that is closed has freed its tables.
  await vm.prepareHptResize(0).catch(() => undefined);
}
