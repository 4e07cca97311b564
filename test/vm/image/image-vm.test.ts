import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { encode, record, run } from '../../../lib/testing/conformance/stream.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { ImageVm } from '../../../lib/vm/image/image-vm.js';
import { ORDER_18_BYTES, read, laterReader, set, get } from './image-entries.js';

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
