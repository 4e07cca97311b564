import { invalidTypeError } from '../base/arguments.js';
import { checkOptions, type OptionTable } from '../base/options.js';
import { RecordCursor } from '../records/cursor.js';
import { PassCounter } from '../records/pass-counter.js';
import { MAX_STREAM_ORDER, checkOrder } from '../hpt/geometry.js';
import { HPTE_V_BOLTED } from '../hpt/hpte-bits.js';
import { ResizeTargets } from '../hpt/resize-targets.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import type { HtabVm } from '../vm/contract.js';
import { sleep } from '../base/time.js';
import { orderChangedError } from './other-table.js';
import { HptReader } from './reader.js';
import { checkNamed } from './recheck.js';
import { knownOrder } from './stream-order.js';
import { TableClaim } from './table-claim.js';
import { isVm } from './vm-or-handle.js';

export interface ResizeOptions {
  /** Ends it with its reason: the old table stays. */
  readonly signal?: AbortSignal | undefined;
}

export const RESIZE_OPTIONS = {
  signal: { doc: 'ends it with its reason: the old table stays' },
} as const satisfies OptionTable<ResizeOptions>;

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
 * Of this process, one operation at a time replaces a VM's table. What else prepares a resize of it, such as a raw call of
 * `prepareHptResize`, cancels this one's, which begins anew; end it by the `signal`.
 *
 * @param order of the new table, 18..36: the stream cannot name the entries of larger ones
 * @throws HtabStateError `would-crash` naming the two entries; `busy` while an `HptReader` is open on the VM, or another
 *   operation reads, writes or replaces its table; `order-changed` if the table is not of the order the VM object says, or,
 *   after the resize, not of the new one
 * @throws HtabUnavailableError `no-table` if the guest has none, or has none after the resize: it uses radix. Also if
 *   the VM does not know its table's order: give it to `KvmVm.fromFd`
 * @throws HtabSystemError ENOMEM without memory for it; ENOSPC if two bolted entries would meet in a smaller table; EIO
 *   before the guest has run or been given a real-mode area; EBUSY if the kernel is not ready although it reported so
 * @throws HtabUnavailableError `unsupported` if the table's order is above 36: its entries cannot be looked at
 * @throws RangeError for an order outside 18..36
 * @throws the signal's reason
 *
 * @example
 * await resizeHpt(vm, 25); // twice the entries of order 24
 */
export async function resizeHpt(vm: HtabVm, order: number, options: ResizeOptions = {}): Promise<void> {
  if (!isVm(vm)) throw invalidTypeError('vm', 'an HtabVm', vm);
  checkOptions(options, RESIZE_OPTIONS);
  const { signal } = options;
  checkOrder(order, MAX_STREAM_ORDER);
  const oldOrder = knownOrder(vm);
  signal?.throwIfAborted();
  // Before anything is prepared: of two resizes, each preparation would cancel the other's, for ever.
  using _claim = TableClaim.take(vm, 'replace', 'resizeHpt');
  try {
    for (let waitMs; (waitMs = await vm.prepareHptResize(order)) > 0;) {
      await sleep(waitMs, signal);
    }
    if (vm.hptOrder !== oldOrder) {
      throw orderChangedError(
        oldOrder,
        `the VM's table has order ${vm.hptOrder ?? 'none'}; nothing was resized`,
      );
    }
    await checkPlacement(vm, oldOrder, order, signal);
  } catch (error) {
    await cancel(vm);
    throw error;
  }
  // Whatever it answers, nothing is prepared after it.
  await vm.commitHptResize(order);
  await checkNamed(order, vm);
}

/** Reads the bolted entries, as the kernel will see them, and refuses a resize that would crash it. */
async function checkPlacement(
  vm: HtabVm,
  oldOrder: number,
  order: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const targets = new ResizeTargets(oldOrder, order);
  // For a smaller table the kernel checks itself, and answers ENOSPC.
  const check = order < oldOrder ? undefined : (record: RecordCursor): void => addRecord(targets, record);
  // A guest can have resized its table without this VM object; which order is the smaller one is not known then.
  const counter = new PassCounter(oldOrder, (found) =>
    orderChangedError(oldOrder, `${found}; nothing was resized`),
  );
  counter.beginPass(new RecordCursor({ order: oldOrder, ascending: true, check }));
  await using reader = await HptReader.openClaimed(vm, { boltedOnly: true });
  for await (const records of reader.pass({ signal })) counter.add(records);
  counter.endPass();
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
