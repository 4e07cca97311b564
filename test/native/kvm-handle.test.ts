import { constants, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { KvmHandle } from '../../lib/vm/kvm/kvm-handle.js';
import { addonIfBuilt, numbersOf, openFifo, scratchFolder } from './support.js';

const built = addonIfBuilt();

describe.skipIf(built === undefined)('KvmHandle, over stand-ins for an HTAB descriptor', () => {
  const addon = built!;
  const folder = scratchFolder();
  const open = async (file: string, access: 'read' | 'write'): Promise<KvmHandle> =>
    new KvmHandle(addon, await addon.adopt(openSync(file, access === 'read' ? 'r' : 'w'), false), access);

  function records(...counts: [validCount: number, invalidCount: number][]): Uint8Array {
    const parts = counts.map(([validCount, invalidCount], record) => {
      const bytes = new Uint8Array(8 + 16 * validCount).fill(record + 1);
      const header = new DataView(bytes.buffer);
      header.setUint32(0, 1000 + record, true);
      header.setUint16(4, validCount, true);
      header.setUint16(6, invalidCount, true);
      return bytes;
    });
    return Buffer.concat(parts);
  }

  test('whole records are written, and all their bytes counted', async () => {
    const file = path.join(folder, 'records');
    const bytes = records([2, 0], [0, 3], [1, 1]);
    await using handle = await open(file, 'write');
    expect(await handle.writeRecords(bytes)).toBe(bytes.length);
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });

  test('a refusal by the kernel names the record, its entry, and what was applied before it', async () => {
    await using handle = await open('/dev/full', 'write');
    await expect(handle.writeRecords(records([1, 0], [1, 0]))).rejects.toMatchObject({
      code: 'ERR_HTAB_SYSTEM',
      errnoName: 'ENOSPC',
      syscall: 'write',
      operation: 'write HPT record',
      recordIndex: 0,
      ptex: 1000,
      bytesApplied: 0,
    });
    await expect(handle.write(new Uint8Array(24))).rejects.toMatchObject({ errnoName: 'ENOSPC' });
    await expect(handle.read(new Uint8Array(64))).rejects.toMatchObject({
      errnoName: 'EBADF',
      syscall: 'read',
      hint: 'the handle was opened for writing',
    });
  });

  test('bytes that end inside a record are refused before anything is written', async () => {
    const file = path.join(folder, 'cut');
    await using handle = await open(file, 'write');
    const bytes = records([1, 0], [2, 0]);
    await expect(handle.writeRecords(bytes.subarray(0, bytes.length - 1))).rejects.toMatchObject({
      code: 'ERR_HTAB_FORMAT',
      byteOffset: 24,
      recordIndex: 1,
    });
    expect(readFileSync(file)).toHaveLength(0);
  });

  test('a record that the kernel takes in part is an error, whatever it returned', async () => {
    using fifo = await openFifo(addon, folder, constants.O_NONBLOCK);
    await using handle = new KvmHandle(addon, fifo.descriptor, 'write');
    await expect(handle.writeRecords(records([1, 0], [5000, 0], [1, 0]))).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
      state: 'lost',
    });
  });

  test('memory that the pool may not use is a TypeError', async () => {
    await using handle = await open('/dev/zero', 'read');
    await expect(handle.read(new Uint8Array(new SharedArrayBuffer(64)))).rejects.toBeInstanceOf(TypeError);
    expect(await handle.read(new Uint8Array(64))).toBe(64);
  });

  test('calls run in the order they were made, one in flight', async () => {
    using fifo = await openFifo(addon, folder);
    await using handle = new KvmHandle(addon, fifo.descriptor, 'read');
    const buffers = Array.from({ length: 8 }, () => new Uint8Array(1));
    const reads = Promise.all(buffers.map((buffer) => handle.read(buffer)));
    writeSync(fifo.fd, Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7));
    expect(await reads).toEqual(buffers.map(() => 1));
    expect(buffers.map(([byte]) => byte)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('close waits for the calls made before it and refuses those made after', async () => {
    using fifo = await openFifo(addon, folder);
    const before = numbersOf(fifo.file).length;
    const handle = new KvmHandle(addon, fifo.descriptor, 'read');
    const first = handle.read(new Uint8Array(1));
    const second = handle.read(new Uint8Array(1));
    const closed = handle.close();
    expect(handle.close()).toBe(closed);
    await expect(handle.read(new Uint8Array(1))).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
      state: 'closed',
    });
    writeSync(fifo.fd, Uint8Array.of(1));
    expect(await first).toBe(1);
    expect(numbersOf(fifo.file).length).toBe(before);
    writeSync(fifo.fd, Uint8Array.of(2));
    expect(await second).toBe(1);
    await closed;
    expect(numbersOf(fifo.file).length).toBe(before - 1);
    await handle.close();
  });
});
