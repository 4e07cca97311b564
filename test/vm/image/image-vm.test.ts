import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { encode, record, render, run } from '../../../lib/testing/conformance/stream.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { FlatTable } from '../../../lib/vm/image/flat-table.js';
import { ImageVm } from '../../../lib/vm/image/image-vm.js';

const ORDER_18_BYTES = 2 ** 18;

async function read(handle: HtabHandle, count = 4096): Promise<string[]> {
  const buffer = new Uint8Array(count);
  return render(buffer.subarray(0, await handle.read(buffer)));
}

/** A reader past its first pass. */
async function laterReader(vm: ImageVm): Promise<HtabHandle> {
  const handle = await vm.openHtab();
  while ((await read(handle, 65_536)).length > 0);
  return handle;
}

/** Sets an entry as the image's owner does. */
function set(image: Uint8Array, ptex: number, v: bigint, r: bigint): void {
  const view = new DataView(image.buffer, image.byteOffset);
  view.setBigUint64(ptex * 16, v);
  view.setBigUint64(ptex * 16 + 8, r);
}

function get(image: Uint8Array, ptex: number): [v: bigint, r: bigint] {
  const view = new DataView(image.buffer, image.byteOffset);
  return [view.getBigUint64(ptex * 16), view.getBigUint64(ptex * 16 + 8)];
}

describe('an image that is there already', () => {
  test('its valid entries are the first pass, without the bits that belong to its keeper', async () => {
    const image = new Uint8Array(ORDER_18_BYTES);
    set(image, 5, 0x51n, 0x190n);
    set(image, 6, 0x21n, 0x4000_0000_0000_0190n);
    set(image, 9, 0x50n, 0x190n);
    const vm = ImageVm.fromImage(image);
    expect(vm.hptOrder).toBe(18);
    expect(vm.image).toBe(image);
    expect(await read(await vm.openHtab())).toEqual(['{0,0,5}', '{5,2,16377} 11:190 1:190']);
    expect(get(image, 5)).toEqual([0x51n, 0x190n]);
  });

  test('it may lie anywhere in its memory, aligned to 4 bytes', async () => {
    const memory = new Uint8Array(ORDER_18_BYTES + 16).fill(0xff);
    const image = memory.subarray(4, 4 + ORDER_18_BYTES).fill(0);
    set(image, 16_383, 0x1n, 0x190n);
    const vm = ImageVm.fromImage(image);
    expect(await read(await vm.openHtab())).toEqual(['{0,0,16383}', '{16383,1,0} 1:190']);
    await using writer = await vm.openHtab({ access: 'write' });
    await writer.writeRecords(encode(run(0, 1), run(16_383, 0, 1)));
    expect(get(image, 0)).toEqual([0x1n, 0x190n]);
    expect([...memory.subarray(0, 4), ...memory.subarray(4 + ORDER_18_BYTES)]).toEqual(
      new Array(16).fill(0xff),
    );
    expect(() => ImageVm.fromImage(memory.subarray(2, 2 + ORDER_18_BYTES))).toThrow(RangeError);
  });

  test('a size that no table has is refused', () => {
    for (const size of [0, 1000, 2 ** 17, ORDER_18_BYTES - 16, ORDER_18_BYTES + 16]) {
      expect(() => ImageVm.fromImage(new Uint8Array(size))).toThrow(
        expect.objectContaining({
          code: 'ERR_OUT_OF_RANGE',
          message: expect.stringMatching(`"image.length".*Received ${size}$`) as string,
        }),
      );
    }
  });

  test.each([undefined, 1 << 18, new ArrayBuffer(1 << 18)])('%o is no image', (image) => {
    expect(() => ImageVm.fromImage(image as unknown as Uint8Array)).toThrow(TypeError);
  });

  test('the table of a real Linux guest comes out of its passes byte for byte', async () => {
    const image = new Uint8Array(
      brotliDecompressSync(readFileSync(new URL('../../fixtures/linux-guest.img.br', import.meta.url))),
    );
    const vm = ImageVm.fromImage(image);
    const copy = new ImageVm();
    await copy.allocateHpt(23);
    await using reader = await vm.openHtab();
    await using writer = await copy.openHtab({ access: 'write' });
    const buffer = new Uint8Array(1 << 20);
    for (let length = await reader.read(buffer); length > 0; length = await reader.read(buffer)) {
      await writer.writeRecords(buffer.subarray(0, length));
    }
    const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    expect(sha(copy.image!)).toBe(sha(image));
  });
});

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

describe('memory that was transferred away', () => {
  const lost: unknown = expect.objectContaining({ code: 'ERR_HTAB_STATE', state: 'lost' });

  async function transferred(): Promise<{ vm: ImageVm; reader: HtabHandle; writer: HtabHandle }> {
    const image = new Uint8Array(ORDER_18_BYTES);
    set(image, 5, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    const reader = await laterReader(vm);
    const writer = await vm.openHtab({ access: 'write' });
    structuredClone(image, { transfer: [image.buffer] });
    return { vm, reader, writer };
  }

  test('is not taken for an empty table', async () => {
    const { vm, reader } = await transferred();
    expect(() => vm.findChanges()).toThrow(lost);
    expect(() => {
      vm.markChanged(5);
    }).toThrow(lost);
    expect(await read(reader)).toEqual([]);
    await expect(vm.openHtab()).rejects.toEqual(lost);
  });

  test('takes no entries and no reset; a table of another order has memory of its own', async () => {
    const { vm, writer } = await transferred();
    await expect(writer.writeRecords(encode(record(6, [[0x11n, 0x190n]])))).rejects.toEqual(lost);
    await expect(vm.openHtab({ access: 'write' })).rejects.toEqual(lost);
    await expect(vm.allocateHpt(18)).rejects.toEqual(lost);
    await vm.allocateHpt(19);
    await writer.writeRecords(encode(record(6, [[0x11n, 0x190n]])));
    expect(get(vm.image!, 6)).toEqual([0x11n, 0x190n]);
  });
});

describe('writing', () => {
  test('what is written stands in the image, clean of the kernel’s own bits', async () => {
    const vm = new ImageVm();
    await vm.allocateHpt(18);
    await using writer = await vm.openHtab({ access: 'write' });
    await writer.write(encode(record(5, [[0x71n, 0xffff_ffff_ffff_ffffn]])));
    expect(get(vm.image!, 5)).toEqual([0x11n, 0xbfff_ffff_ffff_ffffn]);
    await writer.write(encode(record(5, [], 1)));
    expect(vm.image!.every((byte) => byte === 0)).toBe(true);
  });

  test('a removal empties the image also where its owner has entered something unannounced', async () => {
    const vm = new ImageVm();
    await vm.allocateHpt(18);
    set(vm.image!, 5, 0x11n, 0x190n);
    await using writer = await vm.openHtab({ access: 'write' });
    await writer.write(encode(record(4, [], 3)));
    expect(get(vm.image!, 5)).toEqual([0n, 0n]);
  });

  test('a reset empties the owner’s memory; another order brings other memory', async () => {
    const image = new Uint8Array(ORDER_18_BYTES).fill(0);
    set(image, 5, 0x11n, 0x190n);
    const vm = ImageVm.fromImage(image);
    await vm.allocateHpt(18);
    expect(vm.image).toBe(image);
    expect(image.every((byte) => byte === 0)).toBe(true);
    set(image, 5, 0x11n, 0x190n);
    await vm.allocateHpt(19);
    expect(vm.image).not.toBe(image);
    expect(get(image, 5)).toEqual([0x11n, 0x190n]);
  });
});

test('the table is resized by its owner, not through the VM: ENOTTY, as with PR-style KVM (1.4)', async () => {
  const vm = new ImageVm();
  await vm.allocateHpt(18);
  await expect(vm.prepareHptResize(19)).rejects.toMatchObject({
    errnoName: 'ENOTTY',
    syscall: 'KVM_PPC_RESIZE_HPT_PREPARE',
  });
  await expect(vm.commitHptResize(19)).rejects.toMatchObject({
    errnoName: 'ENOTTY',
    syscall: 'KVM_PPC_RESIZE_HPT_COMMIT',
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
