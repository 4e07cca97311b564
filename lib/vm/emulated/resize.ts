import { constants } from 'node:os';
import { MAX_ORDER, MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { rehashPtex } from '../../hpt/hash.js';
import { HPTE_V_BOLTED } from '../../hpt/hpte-bits.js';
import { ResizeTargets } from '../../hpt/resize-targets.js';
import type { CallResult } from '../call-result.js';
import type { Guest } from './guest.js';
import { EntryState } from './entry-state.js';

const { EINVAL, EIO, ENOMEM, ENOSPC, ENXIO } = constants.errno;

/** What the kernel answers while it allocates: ask again in this many milliseconds. */
const PREPARING_MS = 100;

/** KVM_PPC_RESIZE_HPT_PREPARE (kernel-abi.md 5.2). The allocation is finished when the caller asks again. */
export function prepareResize(guest: Guest, order: number): CallResult {
  if (guest.radix || isBadOrder(order)) return -EINVAL;
  if (guest.preparedOrder === order && order !== 0) {
    if (order <= MAX_STREAM_ORDER) return 0;
    guest.preparedOrder = undefined;
    return -ENOMEM;
  }
  guest.preparedOrder = order === 0 ? undefined : order;
  return order === 0 ? 0 : PREPARING_MS;
}

/**
 * KVM_PPC_RESIZE_HPT_COMMIT (kernel-abi.md 5.3). A real kernel can answer EBUSY if it is asked before PREPARE has said
 * that the table is ready; here it always is by then.
 *
 * @throws HtabStateError `would-crash` where two bolted entries fall on one slot and the kernel has no way out
 */
export function commitResize(guest: Guest, order: number): CallResult {
  if (guest.radix || isBadOrder(order)) return -EINVAL;
  const prepared = guest.preparedOrder;
  guest.preparedOrder = undefined;
  if (!guest.mmuReady) return -EIO;
  if (prepared === undefined || prepared !== order || guest.entries === undefined) return -ENXIO;
  if (order > MAX_STREAM_ORDER) return -ENOMEM;
  const resized = rehash(guest, guest.entries, order);
  if (typeof resized === 'number') return resized;
  guest.entries = resized;
  return 0;
}

function isBadOrder(order: number): boolean {
  return order !== 0 && (order < MIN_ORDER || order > MAX_ORDER);
}

/** Moves the bolted entries, in ascending order, each to its slot's number in its new PTEG; the rest is dropped. */
function rehash(guest: Guest, old: EntryState, order: number): EntryState | CallResult {
  const grown = new EntryState(order);
  const hpte = new Uint32Array(4);
  const { table } = old;
  if (order >= table.order) refuseCollision(old, order);
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1)) {
    table.load(ptex, hpte);
    // Taken before the unmap: R and C harvested by it stay behind, for every reader (kernel-abi.md 0, trap 11).
    const modified = old.isModified(ptex);
    guest.mmu.unmap(old, ptex);
    if ((hpte[1]! & HPTE_V_BOLTED) === 0) continue;
    const target = rehashPtex(ptex, hpte[0]!, hpte[1]!, hpte[3]!, table.order, order);
    if (grown.table.has(target)) return -ENOSPC;
    grown.table.store(target, hpte[0]!, hpte[1]!, hpte[2]!, hpte[3]!);
    grown.absent.add(target);
    grown.setHardwareBits(target, old.hardwareBits(ptex));
    if (modified) grown.setModified(target);
  }
  return grown;
}

/** Growing, the kernel crashes if two entries meet (kernel-abi.md 0, trap 12). */
function refuseCollision(old: EntryState, order: number): void {
  const { table } = old;
  const hpte = new Uint32Array(4);
  const targets = new ResizeTargets(table.order, order);
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1)) {
    table.load(ptex, hpte);
    if ((hpte[1]! & HPTE_V_BOLTED) !== 0) targets.add(ptex, hpte[0]!, hpte[1]!, hpte[3]!);
  }
}
