import path from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { readFileSync, writeFileSync } from 'node:fs';
import { HtabError, HtabSystemError } from '../../lib/base/errors.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptTable } from '../../lib/hpt/table.js';
import { loadSnapshot, type LoadProgress } from '../../lib/snapshot/load.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { ImageVm } from '../../lib/vm/image/image-vm.js';
import { scratchFolder } from '../scratch.js';
import { ORDER, busyVm, decodeSnapshot, frameOffsets, snapshotBytes } from './support.js';

const root = scratchFolder();
const file = path.join(root, 'table');
let source: EmulatedVm;

beforeAll(async () => {
  ({ vm: source } = await busyVm());
  await saveSnapshot(source, file, { host: 'power8' });
});

/** Valid entries of the first table, ascending. */
function validEntries(table: HptTable): number[] {
  const found = [];
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1))
    found.push(ptex);
  return found;
}

const newVm = (): EmulatedVm => new EmulatedVm({ host: 'power8' });

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

  test('names the entry that the kernel refuses, and why, and leaves the table empty', async () => {
    const entry = validEntries(source.table!)[700]!;
    const { vm } = await busyVm(1000, { seed: 5 });
    const script = new FaultScript([{ kind: 'entry', entry, errno: 'EIO' }]);
    const error: unknown = await loadSnapshot(file, script.wrapVm(vm)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HtabSystemError);
    expect(error).toMatchObject({ errnoName: 'EIO', ptex: entry });
    expect((error as HtabSystemError).hint).toContain('what the entry held before is gone');
    expect(vm.table!.validCount).toBe(0);
    expect(vm.hptOrder).toBe(ORDER);
  });

  test('refuses a table whose pages the memory cannot hold, by its first such entry', async () => {
    const table = new HptTable(18);
    table.set(8, 0x11n, 0x190n);
    // A 16M page at guest address 16M, with 64K pages behind it.
    table.set(16, 0x15n, 0x1000190n);
    const snapshot = decodeSnapshot(await snapshotBytes(table));
    const small = new EmulatedVm({
      memoryRegions: [{ guestAddress: 0n, size: 1n << 25n, hostPageShift: 16, populated: true }],
    });
    await expect(loadSnapshot(snapshot, small)).rejects.toMatchObject({
      errnoName: 'EIO',
      ptex: 16,
      hint: expect.stringContaining('the 16M page at guest address 0x1000000') as unknown,
    });
    expect(small.table!.validCount).toBe(0);
  });

  test('empties the table after a failure through a descriptor, whatever it held', async () => {
    const entry = validEntries(source.table!)[700]!;
    const { vm } = await busyVm(6000, { seed: 5 });
    const script = new FaultScript([{ kind: 'entry', entry, errno: 'EINVAL' }]);
    const target = script.wrapHandle(await vm.openHtab({ access: 'write' }));
    await expect(loadSnapshot(file, target)).rejects.toMatchObject({ errnoName: 'EINVAL', ptex: entry });
    expect(vm.table!.validCount).toBe(0);
  });

  test('rejects at the end of a smaller table of a descriptor, and leaves it empty', async () => {
    const { vm } = await busyVm(3000, { seed: 5 });
    const { vm: larger } = await busyVm(3000, { order: 20 });
    const big = path.join(root, 'big');
    await saveSnapshot(larger, big);
    await expect(loadSnapshot(big, await vm.openHtab({ access: 'write' }))).rejects.toMatchObject({
      errnoName: 'EINVAL',
      hint: expect.stringContaining('the table ends before ptex') as unknown,
    });
    expect(vm.table!.validCount).toBe(0);
    // Where the order is known, nothing is written at all.
    const script = new FaultScript();
    const target = script.wrapHandle(await vm.openHtab({ access: 'write' }));
    await expect(loadSnapshot(big, target, { order: ORDER })).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      message: expect.stringContaining("the snapshot's table has order 20, the target's has 18") as unknown,
    });
    expect(script.calls('write')).toBe(0);
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

  test('rejects with both errors where the table could not be emptied after a failure', async () => {
    const { vm } = await busyVm(3000, { seed: 5 });
    const script = new FaultScript([{ kind: 'errno', call: 'write', nth: 300, times: 1e9, errno: 'EBUSY' }]);
    const error: unknown = await loadSnapshot(file, script.wrapVm(vm)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'lost' });
    const { errors } = (error as Error).cause as AggregateError;
    expect(errors).toMatchObject([{ errnoName: 'EBUSY' }, { errnoName: 'EBUSY' }]);
  });

  test('names the entry that reads back differently, and empties the table', async () => {
    const vm = newVm();
    const ptex = validEntries(source.table!)[3]!;
    const script = new FaultScript([
      {
        kind: 'run',
        call: 'read',
        action: () => {
          vm.table!.set(ptex, 0x41n, 0x5190n);
        },
      },
    ]);
    const error: unknown = await loadSnapshot(file, script.wrapVm(vm), { readBack: true }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(HtabError);
    expect(error).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect((error as Error).message).toContain(`entry ${ptex} should be v=`);
    expect(vm.table!.validCount).toBe(0);
  });

  test('notices a lost entry, an added entry and an incomplete pass when it reads back', async () => {
    const ptex = validEntries(source.table!)[3]!;
    const free = [...Array(100).keys()].find((index) => !source.table!.has(index))!;
    for (const [change, message] of [
      [(table: HptTable) => table.remove(ptex), `entry ${ptex} should be v=`],
      [
        (table: HptTable) => {
          table.set(free, 0x41n, 0x190n);
        },
        `entry ${free} should be invalid`,
      ],
    ] as const) {
      const vm = newVm();
      const script = new FaultScript([{ kind: 'run', call: 'read', action: () => void change(vm.table!) }]);
      await expect(loadSnapshot(file, script.wrapVm(vm), { readBack: true })).rejects.toThrow(message);
    }
    const vm = newVm();
    await vm.allocateHpt(ORDER);
    const read = await vm.openHtab({ startIndex: 100 });
    await expect(
      loadSnapshot(file, await vm.openHtab({ access: 'write' }), { readBack: read }),
    ).rejects.toThrow(
      "reading the table back failed: the first pass named 16284 of the table's 16384 entries",
    );
  });

  test('refuses a table that a POWER9 host would change before it writes an entry (3.1)', async () => {
    const table = new HptTable(18);
    table.set(8, 0x11n, 0x190n);
    table.set(40, 0x0010_0000_0000_0011n, 0x190n);
    const snapshot = decodeSnapshot(await snapshotBytes(table));
    const vm = new EmulatedVm({ host: 'power9' });
    await expect(loadSnapshot(snapshot, vm)).rejects.toMatchObject({
      code: 'ERR_HTAB_UNAVAILABLE',
      reason: 'unsupported',
      message: expect.stringContaining('entry 40 of the snapshot uses bits 52 to 61') as unknown,
    });
    expect(vm.hptOrder).toBeUndefined();
    // Where the host is not known, reading back shows it.
    await vm.allocateHpt(18);
    const readBack = await vm.openHtab();
    await expect(
      loadSnapshot(snapshot, await vm.openHtab({ access: 'write' }), { readBack }),
    ).rejects.toThrow('entry 40 should be v=10000000000011');
    await loadSnapshot(snapshot, newVm(), { readBack: true });
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
