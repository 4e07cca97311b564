import { expect, test } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import { readTable } from '../../../lib/io/read-table.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import { busyVm, ORDER } from '../snapshot/support.js';

test('a table is read whole, from a VM and from a descriptor, which is closed', async () => {
  const { vm } = await busyVm();
  const handle = await vm.openHtab();
  for (const table of [await readTable(vm), await readTable(handle, { order: ORDER })]) {
    expect(digestTable(table)).toBe(digestTable(vm.table!));
  }
  await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
});

test('a table is not read from a descriptor without its order, which is closed too', async () => {
  const { vm } = await busyVm(1);
  const handle = await vm.openHtab();
  await expect(readTable(handle)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
});

test('half a table is not taken for one', async () => {
  const { vm } = await busyVm(1);
  const handle = await vm.openHtab({ startIndex: 100 });
  await expect(readTable(handle, { order: ORDER })).rejects.toMatchObject({
    state: 'lost',
    message: expect.stringContaining('gave 16284 of the table') as unknown,
  });
  await expect(readTable(new EmulatedVm())).rejects.toThrow();
});

test('reading a table ends with the signal', async () => {
  const { vm } = await busyVm(1);
  const reason = new Error('enough');
  await expect(readTable(vm, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});
