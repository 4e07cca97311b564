import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { compareTables } from '../../../lib/hpt/compare.js';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import type { Test } from '../runner.js';
import { readAttached } from './attached.js';
import { CommandHere } from './command-here.js';
import { guestView, readDebugfs } from './debugfs.js';
import { Qemu } from './qemu.js';
import type { SharedGuest } from './shared-guest.js';
import { until } from '../until.js';

/** Streams that QEMU writes into files, and reads from them. */
export function streamTests(test: Test, guest: SharedGuest): void {
  const [stream, table, rewritten] = ['stream', 'table', 'rewritten'].map((name) => join(guest.folder, name));

  test("the table of a stopped guest is that in QEMU's own stream, and that which the kernel shows", async (t) => {
    const source = await guest.qemu(t.signal);
    await source.qmp.execute('stop');
    const before = await readAttached(source);
    await source.writeStream(stream!, t.signal);
    const after = await readAttached(source);
    const { table, findings, sound } = await readQemuStream(stream!);
    assert.deepEqual(findings, []);
    assert.ok(sound);
    assert.deepEqual(compareTables(before, table!).ptexes, []);
    assert.deepEqual(compareTables(after, table!).ptexes, []);
    assert.deepEqual(guestView(table!), readDebugfs(source.debugfsPath));
    t.note(`${table!.validCount} valid entries are equal`);
    await source.qmp.execute('cont');
    await source.works(t.signal);
  });

  test('a rewritten stream loads in QEMU, and the guest goes on', async (t) => {
    await new CommandHere(['extract', stream!, '-o', table!]).mustEnd(0);
    await new CommandHere(['rewrite', stream!, '--table', table!, '-o', rewritten!]).mustEnd(0);
    assert.ok(!readFileSync(rewritten!).equals(readFileSync(stream!)));
    await using copy = await Qemu.start(guest.series, t.signal, ['-incoming', `exec:cat ${rewritten!}`]);
    await until(async () => (await copy.status()) === 'paused' || undefined, t.signal);
    await copy.qmp.execute('cont');
    await copy.works(t.signal);
    for (const file of [stream, table, rewritten]) rmSync(file!);
  });
}
