import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { FlatTable } from '../../../lib/vm/image/flat-table.js';
import { ImageVm } from '../../../lib/vm/image/image-vm.js';
import { ORDER_18_BYTES, read, laterReader, set } from './image-entries.js';

describe('changes by the owner', () => {
  test('an announced change comes in the later pass, entered, changed or removed', async () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    set(image, 5, 0x11n, 0x190n);
    set(image, 6, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    const later = await laterReader(vm);
    set(image, 5, 0x11n, 0x110n);
    set(image, 6, 0x0n, 0x190n);
    set(image, 7, 0x1n, 0x190n);
    expect(await read(later)).toEqual([]);
    vm.markChanged(5, 3);
    expect(await read(later)).toEqual(['{5,1,1} 11:110', '{7,1,0} 1:190']);
    expect(await read(later)).toEqual([]);
  });

  test('an announcement of what did not change: valid entries count, invalid ones do not', async () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    set(image, 5, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    const later = await laterReader(vm);
    vm.markChanged(4, 3);
    expect(await read(later)).toEqual(['{5,1,0} 11:190']);
  });

  test('a comparison finds what was not announced, and counts it', async () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    for (const ptex of [0, 5, 6, 16_383]) set(image, ptex, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    const later = await laterReader(vm);
    expect(vm.findChanges()).toBe(0);
    set(image, 0, 0x11n, 0x8000_0000_0000_0190n);
    set(image, 5, 0x4000_0000_0000_0011n, 0x190n);
    set(image, 6, 0x13n, 0x190n);
    set(image, 16_383, 0x0n, 0x0n);
    expect(vm.findChanges()).toBe(4);
    expect(vm.findChanges()).toBe(0);
    expect(await read(later)).toEqual([
      '{0,1,0} 11:8000000000000190',
      '{5,2,0} 4000000000000011:190 13:190',
      '{16383,0,1}',
    ]);
  });

  test('a comparison looks closer only where an entry is, or was', () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    for (const ptex of [0, 5, 16_383]) set(image, ptex, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    set(image, 5, 0n, 0n);
    set(image, 100, 0x11n, 0x190n);
    set(image, 200, 0x10n, 0x190n);
    const take = vi.spyOn(FlatTable.prototype, 'take');
    expect(vm.findChanges()).toBe(2);
    expect(take.mock.calls).toEqual([[0], [5], [100], [16_383]]);
    take.mockRestore();
  });

  test('the keeper’s own bits are no change', () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    set(image, 5, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    set(image, 5, 0x71n, 0x4000_0000_0000_0190n);
    expect(vm.findChanges()).toBe(0);
  });

  test('opening a reader finds changes: its first pass is the table as it stands', async () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    const vm = ImageVm.fromImage(image);
    const other = await laterReader(vm);
    set(image, 5, 0x11n, 0x190n);
    const reader = await vm.openHtab({ startIndex: 100 });
    expect(await read(other)).toEqual(['{5,1,0} 11:190']);
    expect(await read(reader)).toEqual(['{100,0,16284}']);
    expect(await read(reader)).toEqual([]);
  });

  test('entries that the table does not have are refused', () => {
    const vm = new ImageVm();
    expect(() => {
      vm.markChanged(0);
    }).toThrow(RangeError);
    expect(vm.findChanges()).toBe(0);
    const there = ImageVm.fromImage(new Uint8Array(ORDER_18_BYTES));
    for (const [ptex, count] of [
      [16_384, 1],
      [-1, 1],
      [0.5, 1],
      [16_383, 2],
      [0, -1],
      [0, 1.5],
    ] as const) {
      expect(() => {
        there.markChanged(ptex, count);
      }).toThrow(RangeError);
    }
    there.markChanged(0, 16_384);
  });
});

test('whatever the owner does and however it is found, the passes lead to the image', async () => {
  const action = fc.oneof(
    fc.record({
      kind: fc.constantFrom('announced' as const, 'silent' as const),
      ptex: fc.integer({ min: 0, max: 16_383 }),
      v: fc.constantFrom(0x1n, 0x11n, 0x0n, 0x4000_0000_0000_0011n),
      r: fc.constantFrom(0x190n, 0x110n),
    }),
    fc.record({ kind: fc.constant('compare' as const) }),
    fc.record({ kind: fc.constant('read' as const), count: fc.integer({ min: 25, max: 300 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60, size: 'max' }), async (actions) => {
      const image = new Uint8Array(ORDER_18_BYTES);
      for (let ptex = 100; ptex < 140; ptex += 3) set(image, ptex, 0x11n, 0x190n);
      const vm = ImageVm.fromImage(image);
      const reader = await vm.openHtab();
      const copy = new ImageVm();
      await copy.allocateHpt(18);
      const writer = await copy.openHtab({ access: 'write' });
      const pass = async (count: number): Promise<number> => {
        const buffer = new Uint8Array(count);
        const length = await reader.read(buffer);
        await writer.writeRecords(buffer.subarray(0, length));
        return length;
      };
      for (const step of actions) {
        if (step.kind === 'compare') vm.findChanges();
        else if (step.kind === 'read') await pass(step.count);
        else set(image, step.ptex, step.v, step.v === 0n ? 0n : step.r);
        if (step.kind === 'announced') vm.markChanged(step.ptex);
      }
      vm.findChanges();
      // Two zero reads in a row: the second began at entry 0.
      for (let zeros = 0; zeros < 2;) zeros = (await pass(4096)) === 0 ? zeros + 1 : 0;
      expect(Buffer.compare(copy.image!, image)).toBe(0);
    }),
    { numRuns: 60 },
  );
});
