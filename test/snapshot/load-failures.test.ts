import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { HtabError, HtabSystemError } from '../../lib/base/errors.js';
import { HptTable } from '../../lib/hpt/table.js';
import { loadSnapshot } from '../../lib/snapshot/load.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { scratchFolder } from '../scratch.js';
import { ORDER, busyVm, decodeSnapshot, snapshotBytes, validEntries, newVm } from './support.js';

const root = scratchFolder();
const file = path.join(root, 'table');
let source: EmulatedVm;

beforeAll(async () => {
  ({ vm: source } = await busyVm());
  await saveSnapshot(source, file, { host: 'power8' });
});

describe('loadSnapshot', () => {
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
});
