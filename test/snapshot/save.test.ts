import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { HtabStateError } from '../../lib/base/errors.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptReader } from '../../lib/io/reader.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import type { GuestCallbacks } from '../../lib/precopy/guest-options.js';
import { saveSnapshot, type SaveOptions } from '../../lib/snapshot/save.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { scratchFiles, scratchFolder } from '../scratch.js';
import { ORDER, busyVm, frameOffsets, neighbours } from './support.js';
import { control } from './counted-guest.js';

const root = scratchFolder();
const scratch = scratchFiles();

describe('saveSnapshot', () => {
  test('makes one pass over a stopped guest, and one that finds no change', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    const report = await saveSnapshot(vm, file, { host: 'power8' });
    expect(report).toMatchObject({
      order: ORDER,
      backend: 'emulated',
      host: 'power8',
      headerByteOrder: 'LE',
      validEntries: vm.table!.validCount,
      digest: digestTable(vm.table!),
      quiescent: true,
      stopMs: undefined,
      fileBytes: readFileSync(file).length,
    });
    expect(report.passes).toHaveLength(2);
    expect(report.passes[1]).toEqual({ validEntries: 0, invalidEntries: 0, bytes: 0 });
    const { table, info } = await readSnapshot(file);
    expect(compareTables(table, vm.table!).count).toBe(0);
    const { stopMs: _, sourceRechecked, ...saved } = report;
    expect(sourceRechecked).toBe(true);
    expect(info).toEqual(saved);
    expect(neighbours(file)).toEqual(['table']);
    // Its reader is closed: another may be opened.
    await (await HptReader.open(vm)).close();
  });

  test('saves an empty table, one larger than a frame, and one in user space', async () => {
    const empty = new EmulatedVm();
    await empty.allocateHpt(21);
    const emptyFile = scratch('table');
    await saveSnapshot(empty, emptyFile);
    expect((await readSnapshot(emptyFile)).table.validCount).toBe(0);

    const dense = new EmulatedVm();
    await dense.allocateHpt(22);
    for (let ptex = 0; ptex < 150_000; ptex++) dense.hcall(0x08, [1n << 39n, BigInt(ptex), 0x11n, 0x190n]);
    const denseFile = scratch('table');
    await saveSnapshot(dense, denseFile);
    const bytes = readFileSync(denseFile);
    expect(frameOffsets(bytes).length - 1).toBeGreaterThan(6);
    const { table } = await readSnapshot(denseFile);
    expect(table.validCount).toBe(150_000);
    expect(digestTable(table)).toBe(digestTable(dense.table!));

    const image = new ImageVm();
    await image.allocateHpt(ORDER);
    new DataView(image.image!.buffer).setBigUint64(16 * 77, 0x11n);
    image.markChanged(77);
    const imageFile = scratch('table');
    expect((await saveSnapshot(image, imageFile)).backend).toBe('image');
    expect((await readSnapshot(imageFile)).table.get(77)).toEqual({ v: 0x11n, r: 0n });
  });

  test('requires the order of a descriptor, and closes it', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    const handle = await vm.openHtab();
    const report = await saveSnapshot(handle, file, { order: ORDER });
    expect(report).toMatchObject({ backend: 'kvm', host: null, digest: digestTable(vm.table!) });
    await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
  });

  test.each<[string, SaveOptions]>([
    ["the table's order", {}],
    ['limits that can be', { order: ORDER, maxPasses: 0 }],
    ['a signal that is not aborted', { order: ORDER, signal: AbortSignal.abort() }],
    ['a guest that can be stopped', { order: ORDER, guest: {} as GuestCallbacks }],
  ])('closes a descriptor also without %s', async (_, options) => {
    const { vm } = await busyVm(1);
    const handle = await vm.openHtab();
    await expect(saveSnapshot(handle, scratch('table'), options)).rejects.toThrow();
    await expect(handle.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
  });

  test('records the host of the VM', async () => {
    const { vm } = await busyVm(1);
    expect(await saveSnapshot(vm, scratch('table'))).toMatchObject({ host: 'power8' });
  });

  test('refuses a table of another order, and a descriptor that has been read before', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    await expect(saveSnapshot(vm, file, { order: 19 })).rejects.toThrow(RangeError);
    await expect(saveSnapshot(await vm.openHtab(), file, { order: 19 })).rejects.toMatchObject({
      state: 'order-changed',
      message: expect.stringContaining('as many as one of order 18 has') as unknown,
    });
    const larger = new EmulatedVm();
    await larger.allocateHpt(20);
    await expect(saveSnapshot(await larger.openHtab(), file, { order: 18 })).rejects.toMatchObject({
      state: 'order-changed',
    });
    const used = await vm.openHtab();
    await used.read(new Uint8Array(1 << 20));
    await expect(saveSnapshot(used, file, { order: ORDER })).rejects.toMatchObject({ reason: 'no-table' });
    expect(neighbours(file)).toEqual([]);
  });

  test('refuses a radix guest, whose descriptor always reads 0 bytes (2.3)', async () => {
    const { vm } = await busyVm(100, { host: 'power9' });
    const handle = await vm.openHtab();
    await vm.configureMmu('radix');
    await expect(saveSnapshot(handle, scratch('table'), { order: ORDER })).rejects.toMatchObject({
      reason: 'no-table',
      message: expect.stringContaining('named 0 of the table') as unknown,
    });
    await expect(saveSnapshot(vm, scratch('table'))).rejects.toMatchObject({ reason: 'no-table' });
  });

  test('refuses a table that one of another order replaces meanwhile', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    let replaced: Promise<void> | undefined;
    const saving = saveSnapshot(vm, file, {
      onProgress: () => {
        replaced ??= vm.allocateHpt(19);
      },
    });
    await expect(saving).rejects.toMatchObject({ state: 'order-changed' });
    await replaced;
    expect(neighbours(file)).toEqual([]);
  });

  test('rejects with the reason of an abort, before it begins and between any two frames', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    const reason = new Error('enough');
    await expect(saveSnapshot(vm, file, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    for (const at of [1, 2, 3]) {
      const controller = new AbortController();
      const guest = control();
      let calls = 0;
      await expect(
        saveSnapshot(vm, file, {
          guest,
          signal: controller.signal,
          onProgress: () => {
            if (++calls === at) controller.abort(reason);
          },
        }),
      ).rejects.toBe(reason);
      expect(guest.calls.length % 2).toBe(0);
      expect(neighbours(file)).toEqual([]);
    }
  });

  test('does not pause the guest if the file cannot be created', async () => {
    const { vm } = await busyVm();
    const script = new FaultScript();
    const guest = control();
    await expect(
      saveSnapshot(script.wrapVm(vm), path.join(root, 'no', 'table'), { guest }),
    ).rejects.toMatchObject({ errnoName: 'ENOENT' });
    expect(script.calls('read')).toBe(0);
    expect(guest.calls).toEqual([]);
  });

  test('keeps the old file, whatever fails', async () => {
    const { vm } = await busyVm();
    const file = scratch('table');
    writeFileSync(file, 'before');
    for (const nth of [1, 2]) {
      const script = new FaultScript([{ kind: 'errno', call: 'read', nth, errno: 'EFAULT' }]);
      await expect(saveSnapshot(script.wrapVm(vm), file)).rejects.toBeInstanceOf(HtabStateError);
      expect(readFileSync(file, 'utf8')).toBe('before');
      expect(neighbours(file)).toEqual(['table']);
    }
  });

  test.each([
    { guestTimeoutMs: 0 },
    { maxPasses: 0 },
    { maxPasses: 1.5 },
    { maxPasses: 2 ** 31 },
    { maxChangedEntries: -1 },
    { maxChangedEntries: Number.NaN },
  ])('throws a RangeError for options out of range: %j', async (options) => {
    const { vm } = await busyVm(0);
    await expect(saveSnapshot(vm, scratch('table'), options)).rejects.toThrow(RangeError);
  });

  test('throws a TypeError for a handle open for writing', async () => {
    const { vm } = await busyVm(0);
    const handle = await vm.openHtab({ access: 'write' });
    await expect(saveSnapshot(handle, scratch('table'), { order: ORDER })).rejects.toThrow(
      'must be open for reading',
    );
    await handle.close();
  });
});
