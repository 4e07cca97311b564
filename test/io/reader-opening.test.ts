import { describe, expect, test } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import type { HtabHandle, HtabVm } from '../../lib/vm/contract.js';
import { ModelVm } from './model-vm.js';
import { readPass } from './pass-headers.js';
import { tenEntries } from './ten-entries.js';
import { brokenHandle } from './broken-handle.js';

describe('HptReader.open on one VM', () => {
  test('refuses a second reader while one is open or being opened', async () => {
    const vm = tenEntries();
    const [first, second] = await Promise.allSettled([HptReader.open(vm), HptReader.open(vm)]);
    expect(second).toMatchObject({ status: 'rejected', reason: { state: 'busy' } });
    expect(vm.handles).toHaveLength(1);
    if (first.status !== 'fulfilled') throw new Error('the first was refused');
    await first.value.close();
    await first.value.close();
    await using third = await HptReader.open(vm);
    expect(third.passes).toBe(0);
  });

  test('allows a second reader with shared: true', async () => {
    const vm = tenEntries();
    await using first = await HptReader.open(vm);
    await using second = await HptReader.open(vm, { shared: true });
    await readPass(first);
    vm.set(105);
    expect(await readPass(second)).toHaveLength(1);
    expect(await readPass(first)).toEqual([]);
  });

  test('allows the next reader after one that could not be opened', async () => {
    const vm = tenEntries();
    vm.openFailure = new HtabSystemError('KVM_PPC_GET_HTAB_FD', 'EMFILE', { operation: 'open' });
    await expect(HptReader.open(vm)).rejects.toBe(vm.openFailure);
    vm.openFailure = undefined;
    await using reader = await HptReader.open(vm);
    expect(reader.passes).toBe(0);
  });
});

describe('arguments of HptReader', () => {
  test.each([0, 24, 25.5, Number.NaN, 2 ** 30 + 1])(
    'bufferBytes %d is refused before anything is opened',
    async (bufferBytes) => {
      const vm = tenEntries();
      await expect(HptReader.open(vm, { bufferBytes })).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
      expect(vm.handles).toEqual([]);
      await using reader = await HptReader.open(vm);
      expect(() => new HptReader(vm.handles[0]!, { bufferBytes })).toThrow(RangeError);
      expect(reader.passes).toBe(0);
    },
  );

  test('refuses a table above order 36, and names the order', async () => {
    const opening = HptReader.open(new ModelVm(37));
    await expect(opening).rejects.toMatchObject({ code: 'ERR_HTAB_UNAVAILABLE', reason: 'unsupported' });
    expect(
      () =>
        new HptReader(
          brokenHandle(() => 0),
          { order: 37 },
        ),
    ).toThrow(RangeError);
  });

  test('refuses an order that is not the VM’s', async () => {
    await expect(HptReader.open(new ModelVm(18), { order: 19 })).rejects.toBeInstanceOf(RangeError);
  });

  test('refuses a write handle', async () => {
    const handle = await new ModelVm(18).openHtab({ access: 'write' });
    expect(() => new HptReader(handle)).toThrow(TypeError);
  });
});

describe('HptReader given a VM for a handle, or a handle for a VM', () => {
  const wrongKind = (says: string): unknown =>
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining(says) as string,
    });

  test('names new HptReader(handle) where open() gets a handle', async () => {
    const handle = await new ModelVm(18).openHtab();
    for (const notVm of [handle, undefined, null, 18, {}]) {
      await expect(HptReader.open(notVm as HtabVm)).rejects.toEqual(wrongKind('new HptReader(handle)'));
    }
  });

  test('names HptReader.open(vm) where the constructor gets a VM', () => {
    for (const notHandle of [new ModelVm(18), undefined, null, 3, {}]) {
      expect(() => new HptReader(notHandle as HtabHandle)).toThrow(wrongKind('HptReader.open(vm)'));
    }
  });
});
