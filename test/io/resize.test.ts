import { expect, test } from 'vitest';
import { HtabStateError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import { resizeHpt } from '../../lib/io/resize.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';

const H_ENTER = 0x08;
const H_EXACT = 1n << 39n;
const BOLTED_4K = 0x11n;
/** A 16M entry's PTEG comes from its address alone, so that two copies of it meet wherever they stood. */
const BOLTED_16M = [0x1015n, 0x90_0000_0010n] as const;

async function runningGuest(): Promise<EmulatedVm> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  vm.enterGuest();
  return vm;
}

test.each([18, 19, 24])(
  'to order %i bolted entries that would meet are named, and nothing stays prepared',
  async (order) => {
    const vm = await runningGuest();
    for (const ptex of [24n, 32n]) vm.hcall(H_ENTER, [H_EXACT, ptex, ...BOLTED_16M]);
    const before = vm.table!.validCount;
    await expect(resizeHpt(vm, order)).rejects.toMatchObject({
      state: 'would-crash',
      message: expect.stringMatching(/ptex 24 and 32/) as string,
    });
    expect(vm.hptOrder).toBe(18);
    expect(vm.table!.validCount).toBe(before);
    // A cancelled preparation begins anew; one that had been left would be ready.
    expect(await vm.prepareHptResize(order)).toBeGreaterThan(0);
  },
);

test('resizeHpt moves entries in the PTEGs of their addresses, also between tables of one size', async () => {
  const vm = await runningGuest();
  vm.hcall(H_ENTER, [H_EXACT, 40n, BOLTED_4K, 0x190n]);
  await resizeHpt(vm, 20);
  await resizeHpt(vm, 20);
  expect(vm.hptOrder).toBe(20);
  expect(vm.table!.has(40)).toBe(true);
});

test('resizeHpt passes on the kernel’s ENOSPC where two bolted entries meet in a smaller table', async () => {
  const vm = new EmulatedVm();
  await vm.allocateHpt(19);
  vm.enterGuest();
  vm.hcall(H_ENTER, [H_EXACT, 40n, BOLTED_4K, 0x190n]);
  vm.hcall(H_ENTER, [H_EXACT, 2053n * 8n, 0x91n, 0x1190n]);
  await expect(resizeHpt(vm, 18)).rejects.toMatchObject({ errnoName: 'ENOSPC' });
  expect(vm.hptOrder).toBe(19);
});

test('resizeHpt refuses while a reader is open: its check would take changes away', async () => {
  const vm = await runningGuest();
  await using reader = await HptReader.open(vm);
  for await (const chunk of reader.pass()) expect(chunk.length).toBeGreaterThan(0);
  await expect(resizeHpt(vm, 19)).rejects.toThrow(HtabStateError);
  expect(vm.hptOrder).toBe(18);
  expect(await vm.prepareHptResize(19)).toBeGreaterThan(0);
});

test('resizeHpt cancels the preparation after an abort', async () => {
  const vm = await runningGuest();
  const abort = new AbortController();
  const resized = resizeHpt(vm, 20, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(resized).rejects.toThrow('enough');
  expect(vm.hptOrder).toBe(18);
  expect(await vm.prepareHptResize(20)).toBeGreaterThan(0);
});

test('resizeHpt refuses a table of another order than the VM object has', async () => {
  const vm = await runningGuest();
  Object.defineProperty(vm, 'hptOrder', { value: 24 });
  await expect(resizeHpt(vm, 18)).rejects.toMatchObject({ state: 'order-changed' });
  expect(vm.table!.order).toBe(18);
});

test.each([1, 2])(
  'resizeHpt rejects with no-table for a guest that goes to radix before read %i',
  async (nth) => {
    const vm = await runningGuest();
    const action = (): Promise<void> => vm.configureMmu('radix');
    const script = new FaultScript([{ kind: 'run', call: 'read', nth, action }]);
    await expect(resizeHpt(script.wrapVm(vm), 19)).rejects.toMatchObject({ reason: 'no-table' });
  },
);

test('resizeHpt rejects where the guest does not have a table of the new order afterwards', async () => {
  const vm = await runningGuest();
  // The commit succeeds; the guest's table is replaced before it is looked at.
  const action = (): Promise<void> => vm.allocateHpt(18);
  const script = new FaultScript([{ kind: 'run', call: 'read', nth: 2, action }]);
  await expect(resizeHpt(script.wrapVm(vm), 20)).rejects.toMatchObject({
    state: 'order-changed',
    message: expect.stringContaining('does not have order 20') as string,
  });
});

test('resizeHpt refuses a table above order 36 before it prepares one', async () => {
  const vm = await runningGuest();
  Object.defineProperty(vm, 'hptOrder', { value: 40 });
  await expect(resizeHpt(vm, 30)).rejects.toMatchObject({
    reason: 'unsupported',
    message: expect.stringMatching(/order 40/) as string,
  });
  expect(await vm.prepareHptResize(30)).toBeGreaterThan(0);
});

test.each([17, 37, 18.5])('resizeHpt refuses order %d', async (order) => {
  const vm = await runningGuest();
  await expect(resizeHpt(vm, order)).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  await expect(vm.commitHptResize(20)).rejects.toMatchObject({ errnoName: 'ENXIO' });
});
