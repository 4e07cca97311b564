import { readFileSync, writeFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import type { LinuxGuest } from '../../lib/inspect/linux-guest.js';
import { tableStats, type TableStats } from '../../lib/inspect/table-stats.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { scratchFiles } from '../scratch.js';
import { fixture as qemuStream } from '../qemu/support.js';
import { debugfsText } from '../snapshot/debugfs-writer.js';
import { linuxTables } from '../inspect/support.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();

function fixture(name: keyof typeof linuxTables): string {
  const file = scratch(name);
  const packed = new URL(`../fixtures/tables/${name}.snap.br`, import.meta.url);
  writeFileSync(file, brotliDecompressSync(readFileSync(packed)));
  return file;
}

const [OLD, NEW, KVM] = [
  fixture('qemu-7.2.22-tcg-1g'),
  fixture('qemu-10.0.2-p9hash-1g'),
  fixture('qemu-10.0.2-kvm-6.12-p9hash-256m'),
];

async function execute(...args: string[]): Promise<{ code: number; text: string }> {
  const output = captureOutput();
  const code = await run(args, output);
  expect(output.stderr.text).toBe('');
  return { code, text: output.stdout.text };
}

/** A command line in terms of OLD, NEW and KVM, the snapshots. */
const screens = `
inspect NEW
inspect KVM
inspect --emulated=order=20
inspect NEW --by pteg
inspect NEW --by context
inspect NEW --by region
inspect NEW --by vsid
inspect KVM --by page-size
inspect NEW --at c000000000000000
inspect NEW --at 10000000
inspect NEW --at 10000000 --context 11
inspect KVM --at 8000 --context 0
inspect NEW --guest-address 2d20000
inspect NEW --ptex 364728
inspect NEW --ptex 1
inspect NEW --list --region vmalloc
inspect NEW --list --region vmemmap --context 7 --bolted
inspect NEW --ptex 364728 --json
diff NEW NEW
diff OLD NEW
fit NEW --to 24
fit NEW --to 18
advise --memory 64G
advise --memory 1.5T --page-size 4K --json
`;

test('the screens are those of screens.golden', async () => {
  let text = '';
  for (const line of screens.trim().split('\n')) {
    const args = line.split(' ').map((arg) => ({ OLD, NEW, KVM })[arg] ?? arg);
    const { code, text: screen } = await execute(...args);
    text += `$ ${line}\n${screen}[${code}]\n\n`;
  }
  const named = text.replaceAll(OLD, 'OLD').replaceAll(NEW, 'NEW').replaceAll(KVM, 'KVM');
  await expect(named).toMatchFileSnapshot('screens.golden');
});

describe('every file that holds a table', () => {
  const name = 'qemu-10.0.2-p9hash-1g';
  const table = linuxTables[name];
  const memory = Buffer.alloc(2 ** table.order);
  for (const [ptex, { v, r }] of table) {
    memory.writeBigUInt64BE(v, ptex * 16);
    memory.writeBigUInt64BE(r, ptex * 16 + 8);
  }
  const files = Object.entries({
    stream: qemuStream(name),
    memory,
    debugfs: Buffer.from(debugfsText(table, 'power9')),
  }).map(([kind, bytes]) => {
    const file = scratch(kind);
    writeFileSync(file, bytes);
    return file;
  });

  test.each(files)('%# shows the same to inspect, diff, fit and load', async (file) => {
    const shown = async (path: string): Promise<string> => {
      const { text } = await execute('inspect', path);
      return text.replaceAll(path, 'FILE') + (await execute('inspect', path, '--by', 'context')).text;
    };
    expect(await shown(file)).toBe(await shown(NEW));
    expect(await execute('diff', file, NEW)).toMatchObject({
      code: 0,
      text: expect.stringContaining('the tables are the same') as string,
    });
    const { text } = await execute('fit', file, '--to', '24');
    expect(text.replaceAll(file, 'FILE')).toBe(
      (await execute('fit', NEW, '--to', '24')).text.replaceAll(NEW, 'FILE'),
    );
    const loaded = await execute('load', file, '--emulated', '--json', '--allow-changing', '--read-back');
    expect(JSON.parse(loaded.text)).toMatchObject({ order: 23, verified: true });
    expect((await execute('check', file)).code).toBe(0);
  });

  test("KVM's text of a real guest gives its order, its kernel and its processes", async () => {
    const file = scratch('htab');
    const packed = new URL('../fixtures/tables/kvm-6.1-p9hash-256m.htab.br', import.meta.url);
    writeFileSync(file, brotliDecompressSync(readFileSync(packed)));
    const { text } = await execute('inspect', file, '--json');
    const { guest, ...counts } = JSON.parse(text) as TableStats & { readonly guest: LinuxGuest };
    expect(counts).toMatchObject({ order: 21, validCount: 8291, misplaced: 0, doubled: 0, unreadable: 0 });
    expect([guest.kernelPages, guest.unknown]).toEqual(['64K', 0]);
    // 256 MiB in pages of 64 KiB, and the worker that the guest runs.
    expect(guest.contexts.find(({ context }) => context === 1)?.entries).toBe(4096);
    expect(
      guest.contexts.filter(({ region }) => region === 'process').map(({ context }) => context),
    ).toContain(9);
    expect((await execute('check', file)).code).toBe(0);
  });

  test('that leaves the order open needs --order', async () => {
    const file = scratch('one-entry');
    writeFileSync(file, '     8 0000000000000011 0000000000001190 0000000000001190\n');
    const output = captureOutput();
    expect(await run(['inspect', file], output)).toBe(1);
    expect(output.stderr.text).toMatch(
      /^kvm-htab: --order: the 1 entries of .*one-entry fit a table of any order in 18\.\.36; /,
    );
    const { text } = await execute('inspect', file, '--order', '20', '--json');
    expect(JSON.parse(text)).toMatchObject({ order: 20, validCount: 1 });
    for (const args of [['check'], ['load', '--emulated', '--allow-changing']]) {
      const done = await execute(...args, file, '--order', '20', '--json');
      expect(JSON.parse(done.text)).toMatchObject({ order: 20, validEntries: 1 });
    }
    expect((await execute('diff', file, file, '--order', '20')).code).toBe(0);
  });
});

describe('kvm-htab inspect', () => {
  test('prints as JSON what the library counts', async () => {
    const { text } = await execute('inspect', KVM, '--json');
    const document = JSON.parse(text) as Record<string, unknown>;
    const { vsids, ...counts } = tableStats(linuxTables['qemu-10.0.2-kvm-6.12-p9hash-256m']);
    expect(document).toMatchObject(counts);
    expect(document['vsids']).toHaveLength(vsids.length);
    expect(document['guest']).toMatchObject({ kernelPages: '64K', unknown: 0 });
  });

  test('lists every valid entry, as lines and as JSON', async () => {
    const table = linuxTables['qemu-7.2.22-tcg-1g'];
    const ptexes = [...table].map(([ptex]) => ptex);
    const lines = (await execute('inspect', OLD, '--list')).text.trimEnd().split('\n');
    expect(lines.map((line) => Number.parseInt(line, 10))).toEqual(ptexes);
    const objects = (await execute('inspect', OLD, '--list', '--json')).text.trimEnd().split('\n');
    expect(objects.map((line) => (JSON.parse(line) as { ptex: number }).ptex)).toEqual(ptexes);
  });

  test('tells that a table is unhealthy', async () => {
    const vm = new EmulatedVm();
    await vm.allocateHpt(18);
    // H_ENTER with H_EXACT: a page of 16M has one group, whatever group it is entered in.
    for (const ptex of [24n, 32n]) vm.hcall(0x08, [1n << 39n, ptex, 0x1015n, 0x90_0000_0010n]);
    const file = scratch('unhealthy');
    await saveSnapshot(vm, file);
    expect((await execute('inspect', file)).text).toMatch(/^health +UNHEALTHY: /m);
  });
});

test('kvm-htab diff lists all that differs when it is asked to', async () => {
  const { code, text } = await execute('diff', OLD, NEW, '--list', '--json');
  const document = JSON.parse(text) as { count: number; changes: unknown[] };
  expect([code, document.changes.length]).toEqual([1, document.count]);
});
