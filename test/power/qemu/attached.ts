import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compareTables } from '../../../lib/hpt/compare.js';
import { HPTE_R_C, HPTE_R_R } from '../../../lib/hpt/hpte-bits.js';
import { readTable } from '../../../lib/io/read-table.js';
import { guardedHandle } from '../../../lib/io/guarded-handle.js';
import { HptReader } from '../../../lib/io/reader.js';
import { guardAgainstMigration, refuseWhileMigrating } from '../../../lib/qemu/qmp/migration-guard.js';
import { loadSnapshot } from '../../../lib/snapshot/load.js';
import { attachHtab } from '../../../lib/vm/kvm/attach.js';
import type { Test } from '../runner.js';
import { htabDescriptors } from '../vmm.js';
import { CommandHere } from './command-here.js';
import { readDebugfs } from './debugfs.js';
import type { Qemu } from './qemu.js';
import type { SharedGuest } from './shared-guest.js';
import { until } from '../until.js';

const ATTACHES = 200;

/** The table of a guest whose QEMU knows nothing of it. */
export function attachedTests(test: Test, guest: SharedGuest): void {
  test(`${ATTACHES} attaches while the guest works leave QEMU and the guest as they were`, async (t) => {
    const { pid } = await guest.qemu(t.signal);
    const before = traces(pid);
    const { handle, order, fd } = await attachHtab({ pid, signal: t.signal });
    await handle.close();
    for (let count = 1; count < ATTACHES; count++) {
      const attached = await attachHtab({ pid, order, fd, signal: t.signal });
      await attached.handle.close();
    }
    assert.deepEqual(traces(pid), before);
    await (await guest.qemu(t.signal)).works(t.signal);
  });

  test('kvm-htab save takes the table of a running guest, which runs on', async (t) => {
    const qemu = await guest.qemu(t.signal);
    const { passes, validEntries, stopMs } = await save(qemu, join(guest.folder, 'running'));
    assert.equal(await qemu.status(), 'running');
    await qemu.works(t.signal);
    t.note(`${passes} passes, ${validEntries} valid entries, stopped for ${Math.round(stopMs)} ms`);
  });

  test('a stopped guest stays stopped when it is saved, and runs on once its table has been loaded', async (t) => {
    const qemu = await guest.qemu(t.signal);
    const file = join(guest.folder, 'stopped');
    await qemu.qmp.execute('stop');
    await save(qemu, file);
    assert.equal(await qemu.status(), 'paused');
    const before = await readAttached(qemu);
    const { handle, openRead } = await attachHtab({ pid: qemu.pid, access: 'write', order: before.order });
    await loadSnapshot(file, handle, { readBack: await openRead() });
    assert.deepEqual(compareTables(before, await readAttached(qemu)).ptexes, []);
    await qemu.qmp.execute('cont');
    await qemu.works(t.signal);
  });

  test('kvm-htab inspect counts what the kernel shows of a stopped guest', async (t) => {
    const qemu = await guest.qemu(t.signal);
    await qemu.qmp.execute('stop');
    const inspect = new CommandHere(['inspect', '--attach', String(qemu.pid), '--json']);
    await inspect.mustEnd(0);
    const { validCount, referenced, changed } = JSON.parse(inspect.said) as Record<string, unknown>;
    const shown = [...readDebugfs(qemu.debugfsPath).values()];
    const withBit = (bit: number): number => shown.filter((r) => (r & BigInt(bit)) !== 0n).length;
    const wanted = { validCount: shown.length, referenced: withBit(HPTE_R_R), changed: withBit(HPTE_R_C) };
    assert.deepEqual({ validCount, referenced, changed }, wanted);
    await qemu.qmp.execute('cont');
    await qemu.works(t.signal);
  });

  test('nothing attaches while QEMU migrates the guest', async (t) => {
    const qemu = await guest.qemu(t.signal);
    const { pid, qmp } = qemu;
    await qemu.migrateForEver();
    // QEMU 7.2 opens its descriptor late: until then only its monitor tells.
    await assert.rejects(refuseWhileMigrating(qmp), { state: 'in-use' });
    await until(() => htabDescriptors(pid).length > 0 || undefined, t.signal);
    const inUse = { code: 'ERR_HTAB_STATE', state: 'in-use' };
    await assert.rejects(attachHtab({ pid }), inUse);
    await new CommandHere(['inspect', '--attach', String(pid)]).mustEnd(1);
    assert.equal(htabDescriptors(pid).length, 1);
    await cancel(qemu, t.signal);
  });

  test('a migration that begins while the table is read ends the reading', async (t) => {
    const qemu = await guest.qemu(t.signal);
    const { handle, order } = await attachHtab({ pid: qemu.pid });
    await using reader = new HptReader(handle, { order });
    await passes(reader, 1);
    await qemu.migrateForEver();
    await until(() => htabDescriptors(qemu.pid).length > 0 || undefined, t.signal);
    await assert.rejects(passes(reader, 1), { state: 'in-use' });
    await assert.rejects(passes(reader, 1));
    await cancel(qemu, t.signal);
  });

  test('with QMP, a migration that begins while the table is read is cancelled, and the guest stays', async (t) => {
    const qemu = await guest.qemu(t.signal);
    const check = await guardAgainstMigration(qemu.qmp);
    const { handle, order } = await attachHtab({ pid: qemu.pid });
    await using reader = new HptReader(guardedHandle(handle, check), { order });
    await passes(reader, 1);
    await qemu.migrateForEver();
    const begun = performance.now();
    await assert.rejects(passes(reader, Infinity), { state: 'in-use' });
    t.note(`noticed, and cancelled, within ${Math.round(performance.now() - begun)} ms`);
    assert.equal(await qemu.migrated(t.signal), 'cancelled');
    assert.equal(await qemu.status(), 'running');
    await qemu.works(t.signal);
  });
}

/** The table of a guest that stands still. */
export async function readAttached({ pid }: Qemu): Promise<Awaited<ReturnType<typeof readTable>>> {
  const { handle, order } = await attachHtab({ pid });
  return await readTable(handle, { order });
}

/** What attaching could leave in a process: descriptors, and signals that its threads keep away. */
function traces(pid: number): object {
  const threads = readdirSync(`/proc/${pid}/task`);
  const blocked = threads.map((thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
    return /^SigBlk:.*$/m.exec(status)?.[0];
  });
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, blocked };
}

/** What `save --json` tells of it. */
interface Saved {
  readonly passes: number;
  readonly validEntries: number;
  readonly stopMs: number;
}

async function save({ pid, monitorPath }: Qemu, file: string): Promise<Saved> {
  const command = new CommandHere(['save', '--attach', String(pid), '--qmp', monitorPath, '--json', file]);
  await command.mustEnd(0);
  return JSON.parse(command.said) as Saved;
}

async function cancel(qemu: Qemu, signal: AbortSignal): Promise<void> {
  await qemu.qmp.execute('migrate_cancel');
  assert.equal(await qemu.migrated(signal), 'cancelled');
  assert.equal(await qemu.status(), 'running');
  assert.deepEqual(htabDescriptors(qemu.pid), []);
  await qemu.works(signal);
}

async function passes(reader: HptReader, count: number): Promise<void> {
  for (let pass = 0; pass < count; pass++) {
    for await (const _chunk of reader.pass());
    await sleep(10);
  }
}
