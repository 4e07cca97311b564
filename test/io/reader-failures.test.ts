import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError, HtabSystemError } from '../../lib/base/errors.js';
import { HptReader } from '../../lib/io/reader.js';
import { ModelVm } from './model-vm.js';
import { settle } from './gate.js';
import { readPass } from './pass-headers.js';
import { tenEntries } from './ten-entries.js';
import { brokenHandle } from './broken-handle.js';

describe('HptReader after a failed read', () => {
  function failingRead(vm: ModelVm, call: number): void {
    vm.onRead = (n) => {
      if (n === call) throw new HtabSystemError('read', 'EFAULT', { operation: 'read HPT records' });
    };
  }

  test('fails with lost and the cause, and stays so (2.4)', async () => {
    const vm = tenEntries();
    failingRead(vm, 1);
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    const failure = { state: 'lost', cause: expect.objectContaining({ errnoName: 'EFAULT' }) as unknown };
    await expect(readPass(reader)).rejects.toMatchObject(failure);
    await expect(readPass(reader)).rejects.toMatchObject(failure);
    expect(vm.handles[0]!.reads).toBe(2);
  });

  test('reports the error of a read ahead in the next pass', async () => {
    const vm = tenEntries();
    failingRead(vm, 1);
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    for await (const _ of reader.pass()) break;
    await settle();
    await expect(readPass(reader)).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'lost' });
  });

  test.each([7, 9, 23, 25])(
    'bytes that do not end with a record, such as %i, are a loss too',
    async (length) => {
      await using reader = new HptReader(
        brokenHandle((buffer) => {
          buffer.set([0, 0, 0, 0, 1, 0, 0, 0]);
          return length;
        }),
      );
      const failure = await readPass(reader).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(HtabStateError);
      expect((failure as HtabStateError).state).toBe('lost');
      expect((failure as HtabStateError).cause).toBeInstanceOf(HtabFormatError);
    },
  );
});

describe('HptReader over a replaced table', () => {
  test('fails the next pass before it reads where the order changed between passes', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    await vm.allocateHpt(19);
    vm.set(5);
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
    expect(vm.handles[0]!.reads).toBe(1);
    await vm.allocateHpt(18);
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('fails a pass before its next chunk where the order changed', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41, startIndex: 100 });
    const pass = reader.pass();
    await pass.next();
    await vm.allocateHpt(19);
    await expect(pass.next()).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('rejects with no-table where a fresh descriptor gives nothing (2.3)', async () => {
    const vm = new ModelVm(undefined);
    await using reader = await HptReader.open(vm);
    const refusal = { code: 'ERR_HTAB_UNAVAILABLE', reason: 'no-table' };
    await expect(readPass(reader)).rejects.toMatchObject(refusal);
    // Its first pass is burnt: what the guest is given later would be missing from it.
    await vm.allocateHpt(18);
    await expect(readPass(reader)).rejects.toMatchObject(refusal);
  });

  test('rejects a record beyond the given order with order-changed', async () => {
    const vm = new ModelVm(19);
    vm.set(20_000);
    await using reader = new HptReader(await vm.openHtab(), { order: 18 });
    await expect(readPass(reader)).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('rejects a lower index within a pass of known order with order-changed', async () => {
    const vm = tenEntries();
    const handle = await vm.openHtab({ startIndex: 100 });
    await using reader = new HptReader(handle, { order: 19, bufferBytes: 169 });
    const pass = reader.pass();
    await pass.next();
    vm.set(3);
    await expect(pass.next()).rejects.toMatchObject({ state: 'order-changed' });
  });
});
