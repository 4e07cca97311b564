import { expect, onTestFinished, test } from 'vitest';
import { guardedHandle } from '../../../lib/io/guarded-handle.js';
import { readTable } from '../../../lib/io/read-table.js';
import { connectQmp, type QmpConnection } from '../../../lib/qemu/qmp/connection.js';
import { guardAgainstMigration, refuseWhileMigrating } from '../../../lib/qemu/qmp/migration-guard.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';
import type { HtabHandle } from '../../../lib/vm/contract.js';
import { scratchFiles } from '../../scratch.js';
import { FakeQemu, type Answers } from './fake-qemu.js';

const scratch = scratchFiles();
const RUNNING = ['setup', 'active', 'device', 'pre-switchover', 'wait-unplug', 'postcopy-active', 'postcopy-paused', 'cancelling', 'colo', 'a-later-status']; // prettier-ignore

async function start(answers: Answers = {}): Promise<{ qemu: FakeQemu; qmp: QmpConnection }> {
  const qemu = await FakeQemu.start(scratch('qmp'), answers);
  const qmp = await connectQmp(qemu.path);
  onTestFinished(() => {
    qmp.close();
    qemu.close();
  });
  return { qemu, qmp };
}

async function emulated(): Promise<HtabHandle> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  return vm.openHtab();
}

test.each(RUNNING)('a table is not read while a migration runs (%s)', async (status) => {
  const { qemu, qmp } = await start();
  qemu.state.migration = { status };
  const busy = {
    ...{ code: 'ERR_HTAB_STATE', state: 'in-use' },
    message: expect.stringMatching(`migrates the guest \\(${status}\\)`) as string,
  };
  await expect(refuseWhileMigrating(qmp)).rejects.toMatchObject(busy);
  await expect(guardAgainstMigration(qmp)).rejects.toMatchObject(busy);
});

test.each([{}, { status: 'none' }, { status: 'completed' }, { status: 'failed' }, { status: 'cancelled' }])(
  'a table is read where no migration runs (%o)',
  async (migration) => {
    const { qemu, qmp } = await start();
    qemu.state.migration = migration;
    await refuseWhileMigrating(qmp);
    const check = await guardAgainstMigration(qmp);
    await check();
    const table = await readTable(guardedHandle(await emulated(), check), { order: 18 });
    expect([table.order, qemu.names().includes('migrate_cancel')]).toEqual([18, false]);
  },
);

test('a migration that begins during a read is cancelled, and what was read is kept back', async () => {
  const { qemu, qmp } = await start();
  const handle = await emulated();
  const read = handle.read.bind(handle);
  handle.read = (buffer) => {
    qemu.state.migration = { status: 'active' };
    return read(buffer);
  };
  const guarded = guardedHandle(handle, await guardAgainstMigration(qmp));
  await expect(readTable(guarded, { order: 18 })).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_STATE', state: 'in-use' },
    message: expect.stringMatching(/the migration was ended \(cancelled\).*The guest stays here/) as string,
  });
  expect(qemu.names().filter((name) => name === 'migrate_cancel')).toHaveLength(1);
});

test('a migration that has begun before the first read is cancelled, and nothing is read', async () => {
  const { qemu, qmp } = await start();
  const handle = await emulated();
  const guarded = guardedHandle(handle, await guardAgainstMigration(qmp));
  qemu.state.migration = { status: 'setup' };
  let reads = 0;
  handle.read = () => Promise.resolve(reads++);
  await expect(guarded.read(new Uint8Array(64))).rejects.toMatchObject({ state: 'in-use' });
  expect(reads).toBe(0);
});

test('a migration that has come and gone between two checks is told by its numbers', async () => {
  const { qemu, qmp } = await start();
  qemu.state.migration = { status: 'completed', 'total-time': 100, ram: { transferred: 5 } };
  const check = await guardAgainstMigration(qmp);
  await check();
  qemu.state.migration = { status: 'completed', 'total-time': 90, ram: { transferred: 5 } };
  await expect(check()).rejects.toMatchObject({
    code: 'ERR_HTAB_STATE',
    message: expect.stringMatching(/could not be cancelled \(completed\).*Stop it there at once/) as string,
  });
});

test('a migration that has failed between two checks, as one before it, is told by its events', async () => {
  const { qemu, qmp } = await start();
  qemu.state.migration = { status: 'failed' };
  const check = await guardAgainstMigration(qmp);
  expect(qemu.asked.map(({ arguments: args }) => args)).toContainEqual({
    capabilities: [{ capability: 'events', state: true }],
  });
  qemu.say({ event: 'MIGRATION', data: { status: 'failed' } });
  await check();
  qemu.say({ event: 'MIGRATION', data: { status: 'setup' } });
  await expect(check()).rejects.toMatchObject({
    ...{ code: 'ERR_HTAB_STATE', state: 'in-use' },
    message: expect.stringMatching(/the migration was ended \(failed\)/) as string,
  });
});

test('of a migration that is completed before it can be cancelled, the destination is in doubt', async () => {
  const state: { qemu?: FakeQemu } = {};
  const { qemu, qmp } = await start({
    migrate_cancel: () => {
      state.qemu!.state.migration = { status: 'completed' };
      return {};
    },
  });
  state.qemu = qemu;
  const check = await guardAgainstMigration(qmp);
  qemu.state.migration = { status: 'device' };
  await expect(check()).rejects.toMatchObject({
    message: expect.stringMatching(/could not be cancelled/) as string,
  });
});

test('a guarded handle gives and takes what its handle does, and closes it', async () => {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  const handle = guardedHandle(await vm.openHtab({ access: 'write' }), () => Promise.resolve());
  expect(handle.access).toBe('write');
  // An invalid run of two entries.
  const record = Buffer.from([0, 0, 0, 0, 0, 0, 2, 0]);
  expect([await handle.write(record), await handle.writeRecords(record)]).toEqual([8, 8]);
  await handle[Symbol.asyncDispose]();
  await expect(handle.write(record)).rejects.toMatchObject({ state: 'closed' });
});
