import { expect, test } from 'vitest';
import { guardedHandle } from '../../lib/io/guarded-handle.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';

test('a guarded handle reads nothing more once a check has kept bytes back', async () => {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  let checks = 0;
  const migrates = new Error('the guest is being migrated');
  const handle = guardedHandle(await vm.openHtab(), () =>
    ++checks === 4 ? Promise.reject(migrates) : Promise.resolve(),
  );
  const buffer = new Uint8Array(1 << 16);
  expect(await handle.read(buffer)).toBeGreaterThan(0);
  await expect(handle.read(buffer)).rejects.toBe(migrates);
  await expect(handle.read(buffer)).rejects.toBe(migrates);
  expect(checks).toBe(4);
});

test('a guarded handle reads on after a check before a read has failed: nothing was taken', async () => {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  let checks = 0;
  const handle = guardedHandle(await vm.openHtab(), () =>
    ++checks === 1 ? Promise.reject(new Error('QEMU does not answer')) : Promise.resolve(),
  );
  await expect(handle.read(new Uint8Array(1 << 16))).rejects.toThrow('QEMU does not answer');
  expect(await handle.read(new Uint8Array(1 << 16))).toBeGreaterThan(0);
});

test('a guarded handle reads into memory of the handle that it guards, or into its own where that has none', async () => {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  const plain = await vm.openHtab();
  const memory = new Uint8Array(64);
  const check = (): Promise<void> => Promise.resolve();
  expect(guardedHandle(plain, check).readBuffer!(64)).toEqual(memory);
  const owning = Object.assign(plain, { readBuffer: () => memory });
  expect(guardedHandle(owning, check).readBuffer!(64)).toBe(memory);
});
