import assert from 'node:assert/strict';
import { HtabSystemError } from '../../lib/base/errors.js';
import type { HptTable } from '../../lib/hpt/table.js';
import { fitOrder, type Fit } from '../../lib/inspect/fit-order.js';
import { readTable } from '../../lib/io/read-table.js';
import { loadTable } from '../../lib/io/table-writer.js';
import { encode, record, VRMA } from '../../lib/testing/conformance/stream.js';
import { resizeTable } from '../../lib/testing/resize.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { randomTable } from '../inspect/random-table.js';
import { createHashVm } from './conformance.js';
import type { Host } from './host.js';

/** Resizes a random table, unless that would stop the kernel. @returns what was predicted, and came true */
export async function tryTable(seed: number, host: Host, signal: AbortSignal): Promise<Fit['verdict']> {
  signal.throwIfAborted();
  await using vm = await createHashVm(host);
  const before = await fill(vm, seed);
  const newOrder = 18 + (Math.floor(seed / 3) % 4);
  const fit = fitOrder(before, newOrder);
  // A COMMIT of such a table stops the kernel.
  if (fit.verdict === 'would-crash') return fit.verdict;
  const name = `seed ${seed}, order ${before.order} to ${newOrder}`;
  assert.equal(await commit(vm, newOrder), fit.verdict, name);
  if (fit.verdict === 'no-space') return fit.verdict;
  const after = await readTable(vm, { order: newOrder });
  const held = new Uint8Array(2 ** (newOrder - 7));
  for (const [ptex] of after) held[Math.floor(ptex / 8)]!++;
  assert.equal(after.validCount, fit.bolted, name);
  const occupancy = new Array<number>(9).fill(0);
  for (const each of held) occupancy[each]!++;
  assert.deepEqual(occupancy, fit.occupancy, name);
  return fit.verdict;
}

/** Gives a VM a random table, as the tests of `fitOrder` do. @returns it as the kernel has it */
async function fill(vm: HtabVm, seed: number): Promise<HptTable> {
  const order = 18 + (seed % 3);
  const share = 0.001 * 2 ** (seed % 8);
  await loadTable(vm, randomTable(seed, { order, share, healthy: seed % 2 === 0, readable: true }));
  // A table is resized only where the MMU is set up, which this entry does.
  await using writer = await vm.openHtab({ access: 'write' });
  await writer.writeRecords(encode(record(16, [VRMA])));
  return await readTable(vm, { order });
}

async function commit(vm: HtabVm, order: number): Promise<Fit['verdict']> {
  try {
    await resizeTable(vm, order);
    return 'fits';
  } catch (error) {
    if (error instanceof HtabSystemError && error.errnoName === 'ENOSPC') return 'no-space';
    throw error;
  }
}
