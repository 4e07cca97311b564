import { expect, test } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import { readTable } from '../../lib/io/read-table.js';
import { FaultScript } from '../../lib/testing/faults.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { busyVm, ORDER } from '../snapshot/support.js';

test('readTable reads a whole table from a VM, and from a descriptor, which it closes', async () => {
  const { vm } = await busyVm();
  const handle = await vm.openHtab();
  for (const table of [await readTable(vm), await readTable(handle, { order: ORDER })]) {
    expect(digestTable(table)).toBe(digestTable(vm.table!));
  }
  await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
});

test('readTable requires the order of a descriptor, and closes it', async () => {
  const { vm } = await busyVm(1);
  const handle = await vm.openHtab();
  await expect(readTable(handle)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
});

test('readTable rejects where the pass does not name every entry', async () => {
  const { vm } = await busyVm(1);
  const handle = await vm.openHtab({ startIndex: 100 });
  await expect(readTable(handle, { order: ORDER })).rejects.toMatchObject({
    state: 'lost',
    message: expect.stringContaining('named 16284 of the table') as unknown,
  });
  await expect(readTable(new EmulatedVm())).rejects.toThrow();
});

test('readTable names a wrong order of a descriptor', async () => {
  const { vm } = await busyVm();
  for (const [order, message] of [
    [19, /^the table does not have order 19: the first pass named 16384 .* as many as one of order 18 has/],
    [18, /^the table does not have order 18: a record ends at ptex \d+/],
  ] as const) {
    if (order === 18) await vm.allocateHpt(20);
    await expect(readTable(await vm.openHtab(), { order })).rejects.toMatchObject({
      state: 'order-changed',
      message: expect.stringMatching(message) as unknown,
    });
  }
});

/** Lets something happen before a read of the VM: the first is the pass, the second the look after it. */
function interrupted(vm: EmulatedVm, nth: number, action: () => void | Promise<void>): HtabVm {
  return new FaultScript([{ kind: 'run', call: 'read', nth, action }]).wrapVm(vm);
}

test.each([1, 2])(
  'readTable rejects with no-table for a guest that goes to radix before read %i',
  async (nth) => {
    const { vm } = await busyVm(4000, { host: 'power9' });
    await expect(readTable(interrupted(vm, nth, () => vm.configureMmu('radix')))).rejects.toMatchObject({
      reason: 'no-table',
      message: expect.stringContaining('radix') as unknown,
    });
  },
);

test.each([19, 20])(
  'a table that has order %i after it was read is not given as one of order 18',
  async (order) => {
    const { vm } = await busyVm();
    await expect(readTable(interrupted(vm, 2, () => vm.allocateHpt(order)))).rejects.toMatchObject({
      state: 'order-changed',
    });
  },
);

test('readTable rejects with the reason of its signal', async () => {
  const { vm } = await busyVm(1);
  const reason = new Error('enough');
  await expect(readTable(vm, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});
