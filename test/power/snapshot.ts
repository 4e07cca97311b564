import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openForReading, openForWriting } from '../../lib/cli/table/open.js';
import { run } from '../../lib/cli/program.js';
import { encode, record, VRMA } from '../../lib/testing/conformance/stream.js';
import { resizeTable } from '../../lib/testing/resize.js';
import { loadSnapshot } from '../../lib/snapshot/load.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import type { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import { checkedStats, compareWithUnmoved, startChecker } from './checker.js';
import { createHashVm } from './conformance.js';
import type { Host } from './host.js';
import type { Test } from './runner.js';

/** What can become of a table under an open descriptor, which shows none of it. */
const REPLACEMENTS: readonly {
  readonly name: string;
  readonly only?: Host['mmu'];
  readonly change: (vm: KvmVm) => Promise<void>;
  readonly refusal: object;
}[] = [
  { name: 'is cleared', change: (vm) => vm.allocateHpt(20), refusal: { state: 'replaced' } },
  { name: 'is rehashed', change: (vm) => resizeTable(vm, 20), refusal: { state: 'replaced' } },
  { name: 'grows', change: (vm) => resizeTable(vm, 21), refusal: { state: 'order-changed' } },
  { name: 'shrinks', change: (vm) => resizeTable(vm, 19), refusal: { state: 'order-changed' } },
  {
    name: 'goes with radix',
    only: 'radix',
    change: (vm) => vm.configureMmu('radix'),
    refusal: { reason: 'no-table' },
  },
];

/** Tables of real kernels in files, and back. */
export function snapshotSuite(test: Test, host: Host): void {
  const folder = mkdtempSync(join(tmpdir(), 'snapshot-'));

  test('the table of a VM is saved, loaded into another, and reads back the same', async () => {
    const file = join(folder, 'vm');
    await using source = await createHashVm(host);
    await source.allocateHpt(20);
    await using writer = await source.openHtab({ access: 'write' });
    for (let ptex = 100; ptex < 900; ptex += 3) await writer.write(encode(record(ptex, [[0x11n, 0x190n]])));
    const { digest, validEntries } = await saveSnapshot(source, file);
    assert.equal(validEntries, 267);
    await using target = await createHashVm(host);
    assert.equal((await loadSnapshot(file, target, { readBack: true })).digest, digest);
    assert.equal((await saveSnapshot(target, join(folder, 'copy'))).digest, digest);
  });

  test('an entry that the host cannot map is named, and the table left empty', async () => {
    const file = join(folder, 'large-page');
    await using source = await createHashVm(host);
    await source.allocateHpt(18);
    await using writer = await source.openHtab({ access: 'write' });
    await writer.write(encode(record(7, [[0x11n, 0x190n]])));
    await writer.write(encode(record(9, [[0x11n, 0x190n]])));
    await saveSnapshot(source, file);
    const snapshot = await readSnapshot(file);
    // Segment code 2 is reserved: EIO on every host (kernel-abi.md 4.4).
    snapshot.table.set(9, 0x8000_0000_0000_0011n, 0x190n);
    await using target = await createHashVm(host);
    await assert.rejects(loadSnapshot(snapshot, target), { errnoName: 'EIO', ptex: 9 });
    const { validEntries } = await saveSnapshot(target, join(folder, 'emptied'));
    assert.equal(validEntries, 0);
  });

  for (const { name, only, change, refusal } of REPLACEMENTS) {
    test(`a table that ${name} while its guest is paused is not saved, from a VM and from its descriptor`, async (t) => {
      if (only !== undefined && host.mmu !== only) t.skip(`a ${only} host only`);
      for (const byDescriptor of [false, true]) {
        const file = join(folder, 'replaced');
        await using vm = await createHashVm(host);
        await vm.allocateHpt(20);
        await using writer = await vm.openHtab({ access: 'write' });
        // A table is resized only where the MMU is set up.
        await writer.write(encode(record(16, [VRMA])));
        for (let ptex = 100; ptex < 65_000; ptex += 128) {
          await writer.write(encode(record(ptex, [[0x1n, 0x190n]])));
        }
        let resumed = 0;
        const saving = saveSnapshot(byDescriptor ? await vm.openHtab() : vm, file, {
          order: 20,
          reopen: (startIndex) => vm.openHtab({ startIndex }),
          guest: {
            pause: () => change(vm),
            resume: () => {
              resumed++;
              return Promise.resolve();
            },
          },
        });
        await assert.rejects(saving, refusal);
        assert.equal(existsSync(file), false);
        assert.equal(resumed, 1);
      }
    });
  }

  test('a guest that runs is saved over its VMM’s socket, restored from the file, and computes what it would have', async (t) => {
    await using guest = await startChecker(0);
    const file = join(folder, 'guest');
    const source = await openForReading({ htabSocket: guest.socketPath });
    assert.ok('handle' in source.table && source.control !== undefined);
    const { control } = source;
    const report = await saveSnapshot(source.table.handle, file, {
      order: source.order,
      ...(source.host && { host: source.host }),
      maxPasses: 4,
      // It stays where the file has it, until it goes on from there.
      guest: { pause: () => control.pause(), resume: () => Promise.resolve() },
    });
    await source.close();
    assert.equal(report.host, host.processor);

    const target = await openForWriting({ htabSocket: guest.socketPath });
    assert.ok('handle' in target.table);
    const readBack = await target.table.openRead!();
    await loadSnapshot(file, target.table.handle, { order: target.order!, readBack });
    await target.close();
    assert.equal(await guest.ask('commit'), 'ok');

    await compareWithUnmoved(guest);
    t.note(`${report.passes.length} passes, ${report.validEntries} valid entries, ${report.fileBytes} bytes`);
  });

  test('kvm-htab save and load do the same', async () => {
    await using guest = await startChecker(0);
    const file = join(folder, 'by-command');
    const output = { stdout: process.stderr, stderr: process.stderr };
    assert.equal(await run(['save', '--quiet', '--htab-socket', guest.socketPath, file], output), 0);
    await checkedStats(guest);
    assert.ok(readFileSync(file).length > 10_000);
    const args = ['load', '--quiet', '--read-back', '--htab-socket', guest.socketPath, file];
    assert.equal(await run(args, output), 0);
    assert.equal(await guest.ask('drop'), 'ok');
    assert.equal(await run(['probe', '--quiet'], output), 0);
    await checkedStats(guest);
  });
}
