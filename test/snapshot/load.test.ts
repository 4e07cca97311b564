import path from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { readFileSync, writeFileSync } from 'node:fs';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptTable } from '../../lib/hpt/table.js';
import { loadSnapshot, type LoadProgress } from '../../lib/snapshot/load.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { FaultScript } from '../../lib/testing/faults.js';
import type { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { scratchFolder } from '../scratch.js';
import { ORDER, busyVm, decodeSnapshot, frameOffsets, snapshotBytes, newVm } from './support.js';

const root = scratchFolder();
const file = path.join(root, 'table');
let source: EmulatedVm;

beforeAll(async () => {
  ({ vm: source } = await busyVm());
  await saveSnapshot(source, file, { host: 'power8' });
});

describe('loadSnapshot', () => {
  test('gives a VM the saved table, reads it back and compares it', async () => {
    const vm = newVm();
    const steps: LoadProgress[] = [];
    const info = await loadSnapshot(file, vm, { readBack: true, onProgress: (step) => steps.push(step) });
    expect(info).toMatchObject({ order: ORDER, digest: digestTable(source.table!), quiescent: true });
    expect(vm.hptOrder).toBe(ORDER);
    expect(compareTables(vm.table!, source.table!).count).toBe(0);
    expect(steps).toEqual([
      { step: 'write', written: 1 },
      { step: 'read back', written: 1 },
    ]);
  });

  test('replaces the table that the VM had, also one of another order', async () => {
    for (const order of [ORDER, 20]) {
      const { vm } = await busyVm(6000, { seed: 9, order });
      await loadSnapshot(file, vm);
      expect(vm.hptOrder).toBe(ORDER);
      expect(compareTables(vm.table!, source.table!).count).toBe(0);
    }
  });

  test('writes invalid entries too through a descriptor, reads back through another, and closes both', async () => {
    const { vm } = await busyVm(6000, { seed: 9 });
    const target = await vm.openHtab({ access: 'write' });
    const readBack = await vm.openHtab();
    await loadSnapshot(file, target, { readBack, order: ORDER });
    expect(compareTables(vm.table!, source.table!).count).toBe(0);
    await expect(target.write(new Uint8Array(8))).rejects.toMatchObject({ state: 'closed' });
    await expect(readBack.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
  });

  test('writes each entry once, in its last state, from a decoded snapshot of many frames', async () => {
    const table = new HptTable(22);
    for (let ptex = 1000; ptex < 151_000; ptex++) table.set(ptex, 0x11n | (BigInt(ptex) << 12n), 0x190n);
    const snapshot = decodeSnapshot(await snapshotBytes(table));
    const image = new ImageVm();
    const script = new FaultScript();
    await loadSnapshot(snapshot, script.wrapVm(image), { readBack: true });
    expect(new DataView(image.image!.buffer).getBigUint64(16 * 150_999)).toBe(0x11n | (150_999n << 12n));
    // One run of empty entries, three of valid ones, and a rest: 2^18 entries in runs of 65,535.
    expect(script.calls('write')).toBeLessThan(12);
  });

  test('touches no table before all of the file has been verified', async () => {
    const bytes = readFileSync(file);
    const damaged = path.join(root, 'damaged');
    const { vm } = await busyVm(1000, { seed: 5 });
    const before = digestTable(vm.table!);
    const script = new FaultScript();
    for (const at of [20, ...frameOffsets(bytes).slice(1, -1), bytes.length - 1]) {
      const other = Buffer.from(bytes);
      other[at]! ^= 0x10;
      writeFileSync(damaged, other);
      await expect(loadSnapshot(damaged, script.wrapVm(vm))).rejects.toMatchObject({
        code: 'ERR_HTAB_FORMAT',
      });
      writeFileSync(damaged, bytes.subarray(0, at));
      await expect(loadSnapshot(damaged, script.wrapVm(vm))).rejects.toMatchObject({
        code: 'ERR_HTAB_FORMAT',
      });
    }
    expect([script.calls('allocateHpt'), script.calls('openHtab'), script.calls('write')]).toEqual([0, 0, 0]);
    expect(digestTable(vm.table!)).toBe(before);
  });

  test('rejects with EBUSY while a vcpu runs, and keeps the old table', async () => {
    const { vm } = await busyVm(3000, { seed: 5 });
    const before = digestTable(vm.table!);
    const script = new FaultScript();
    script.running = true;
    await expect(loadSnapshot(file, script.wrapVm(vm))).rejects.toMatchObject({
      errnoName: 'EBUSY',
      syscall: 'KVM_PPC_ALLOCATE_HTAB',
    });
    const handle = script.wrapHandle(await vm.openHtab({ access: 'write' }));
    await expect(loadSnapshot(file, handle)).rejects.toMatchObject({
      errnoName: 'EBUSY',
      hint: 'a vcpu is running: stop all vcpus before the table is written',
    });
    expect(digestTable(vm.table!)).toBe(before);
  });

  test('refuses a table that changed while it was saved, unless that is allowed', async () => {
    const { vm, workload } = await busyVm();
    const mixed = path.join(root, 'mixed');
    await saveSnapshot(vm, mixed, {
      maxPasses: 2,
      allowChanging: true,
      onProgress: ({ complete }) => complete && workload.step(50),
    });
    await expect(loadSnapshot(mixed, newVm())).rejects.toMatchObject({
      state: 'busy',
      message: expect.stringContaining('the snapshot mixes moments') as unknown,
    });
    const target = newVm();
    const { digest } = await loadSnapshot(mixed, target, { allowChanging: true });
    expect(digestTable(target.table!)).toBe(digest);
  });

  test('rejects with the reason of an abort, and leaves the old table or an empty one', async () => {
    const reason = new Error('enough');
    const { vm } = await busyVm(3000, { seed: 5 });
    const before = digestTable(vm.table!);
    await expect(loadSnapshot(file, vm, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const snapshot = await readSnapshot(file);
    await expect(loadSnapshot(snapshot, vm, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(digestTable(vm.table!)).toBe(before);
    const controller = new AbortController();
    const onProgress = vi.fn(() => {
      controller.abort(reason);
    });
    await expect(
      loadSnapshot(snapshot, vm, { signal: controller.signal, readBack: true, onProgress }),
    ).rejects.toBe(reason);
    expect(vm.table!.validCount).toBe(0);
  });

  test('throws a TypeError for descriptors of the wrong direction, and closes them', async () => {
    const { vm } = await busyVm(10);
    const reader = await vm.openHtab();
    await expect(loadSnapshot(file, reader)).rejects.toThrow('must be open for writing');
    await expect(reader.read(new Uint8Array(100))).rejects.toMatchObject({ state: 'closed' });
    await expect(
      loadSnapshot(file, await vm.openHtab({ access: 'write' }), { readBack: true }),
    ).rejects.toThrow('must be a handle');
    await expect(
      loadSnapshot(file, vm, { readBack: await vm.openHtab({ access: 'write' }) }),
    ).rejects.toThrow('must be open for reading');
  });
});
