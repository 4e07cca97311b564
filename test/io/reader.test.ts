import { describe, expect, test } from 'vitest';
import { HptReader } from '../../lib/io/reader.js';
import { ModelVm } from './model-vm.js';
import { headers } from './wire-records.js';
import { settle } from './gate.js';
import { readPass } from './pass-headers.js';
import { tenEntries } from './ten-entries.js';

describe('a pass of HptReader', () => {
  test('gives the whole table first, and later what has changed since', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    expect(await readPass(reader)).toEqual([
      [
        [0, 0, 100],
        [100, 10, 16274],
      ],
    ]);
    vm.set(105);
    vm.delete(107);
    expect(await readPass(reader)).toEqual([
      [
        [105, 1, 0],
        [107, 0, 1],
      ],
    ]);
    expect(reader.passes).toBe(2);
  });

  test('ends without another read after one that leaves more than 24 bytes of room (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 201, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('ends without another read after one that fills the buffer and reaches the last entry (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 169, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(vm.handles[0]!.reads).toBe(1);
  });

  test('goes on after a read that leaves exactly 24 bytes of room (2.3)', async () => {
    const vm = new ModelVm(18);
    for (const ptex of [100, 101, 200]) vm.set(ptex);
    await using reader = await HptReader.open(vm, { bufferBytes: 64, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 2, 98]], [[200, 1, 16183]]]);
  });

  test('goes on after full buffers that end before the table does', async () => {
    await using reader = await HptReader.open(tenEntries(), { bufferBytes: 89, startIndex: 100 });
    expect(await readPass(reader)).toEqual([[[100, 5, 0]], [[105, 5, 16274]]]);
  });

  test('ends with a zero read in its middle, which does not prove quiescence (2.4)', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm, { bufferBytes: 41 });
    await readPass(reader);
    vm.set(40);
    vm.set(41);
    const pass = reader.pass();
    expect(headers((await pass.next()).value!)).toEqual([[40, 2, 0]]);
    vm.set(10);
    expect((await pass.next()).done).toBe(true);
    expect(reader.quiescent).toBe(false);
    expect(await readPass(reader)).toEqual([[[10, 1, 0]]]);
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(true);
  });

  test('reads a whole table with the smallest buffer that the kernel fills, 25 bytes', async () => {
    await using reader = await HptReader.open(tenEntries(), { bufferBytes: 25, startIndex: 107 });
    expect(await readPass(reader)).toEqual([[[107, 1, 0]], [[108, 1, 0]], [[109, 1, 16274]]]);
  });

  test('begins only when it is asked for: changes made between passes wait for it', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    const reads = vm.handles[0]!.reads;
    await settle();
    expect(vm.handles[0]!.reads).toBe(reads);
  });
});

describe('HptReader.quiescent', () => {
  test('is true after a zero read from index 0, until a change is found', async () => {
    const vm = tenEntries();
    await using reader = await HptReader.open(vm);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
    vm.set(5);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
  });

  test('needs one more zero read after a start index above 0', async () => {
    await using reader = await HptReader.open(new ModelVm(18), { startIndex: 2 ** 40 });
    expect(await readPass(reader)).toEqual([]);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });

  test('needs one more zero read on a given descriptor', async () => {
    const vm = new ModelVm(18);
    const handle = await vm.openHtab({ startIndex: 2 ** 40 });
    await using reader = new HptReader(handle);
    await readPass(reader);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });
});

describe('HptReader without an order', () => {
  test('keeps a chunk at a lower index for the next pass', async () => {
    const vm = tenEntries();
    await using reader = new HptReader(await vm.openHtab({ startIndex: 100 }), { bufferBytes: 169 });
    const pass = reader.pass();
    expect(headers((await pass.next()).value!)).toEqual([[100, 10, 16274]]);
    expect(reader.passes).toBe(0);
    vm.set(3);
    vm.set(7);
    expect((await pass.next()).done).toBe(true);
    expect(reader.passes).toBe(1);
    expect(await readPass(reader)).toEqual([
      [
        [3, 1, 0],
        [7, 1, 0],
      ],
    ]);
  });

  test('ends a pass with a zero read after a full buffer, which does not prove quiescence', async () => {
    await using reader = new HptReader(await tenEntries().openHtab({ startIndex: 100 }), {
      bufferBytes: 169,
    });
    expect(await readPass(reader)).toEqual([[[100, 10, 16274]]]);
    expect(reader.quiescent).toBe(false);
    await readPass(reader);
    expect(reader.quiescent).toBe(true);
  });

  test('ends a pass that was left before the wrap was seen, empty, at the next call', async () => {
    const vm = tenEntries();
    await using reader = new HptReader(await vm.openHtab({ startIndex: 100 }), { bufferBytes: 169 });
    for await (const _ of reader.pass()) {
      vm.set(3);
      break;
    }
    expect(await readPass(reader)).toEqual([]);
    expect(await readPass(reader)).toEqual([[[3, 1, 0]]]);
  });
});
