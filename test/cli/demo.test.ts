import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { readGuestTable, replaceTable } from '../../lib/cli/demo/guest-image.js';
import { loadTable } from '../../lib/io/table-writer.js';
import { demo } from '../../lib/cli/demo/run.js';
import type { DemoOutcome } from '../../lib/cli/demo/outcome.js';
import * as verdict from '../../lib/cli/demo/verdict.js';
import { run } from '../../lib/cli/program.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { HPTE_V_BOLTED, HPTE_V_SECONDARY } from '../../lib/hpt/hpte-bits.js';
import { virtualPageOf } from '../../lib/hpt/hash.js';
import type { HptTable } from '../../lib/hpt/table.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';
import { MAIN, notCompiled } from './processes.js';

const scratch = scratchFiles();
/** So busy a guest has a fast line: the demo takes half a second. */
const BUSY = ['--rate', '50000'];

function entries(table: HptTable): { ptex: number; v: bigint; r: bigint }[] {
  const found = [];
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1)) {
    found.push({ ptex, ...table.get(ptex)! });
  }
  return found;
}

describe("the demo's guest", () => {
  let guest: HptTable;
  beforeAll(async () => {
    guest = await readGuestTable();
  });

  test('is a real Linux guest: 17,812 entries, 16,400 of them bolted, each where its address hashes to', () => {
    const all = entries(guest);
    expect(guest.order).toBe(23);
    expect(all.length).toBe(17_812);
    expect(all.filter(({ v }) => (v & BigInt(HPTE_V_BOLTED)) !== 0n).length).toBe(16_400);
    expect(all.every(({ ptex, v, r }) => virtualPageOf(ptex, v, r, guest.order) !== undefined)).toBe(true);
  });

  test.each([19, 20, 24, 30, 36])('keeps all its pages in a table of order %i', (order) => {
    const table = replaceTable(guest, order);
    const mapping = (ptex: number, v: bigint, r: bigint, of: HptTable): string => {
      const page = virtualPageOf(ptex, v, r, of.order)!;
      return `${page.segment} ${page.vsid} ${page.offset} ${v & ~BigInt(HPTE_V_SECONDARY)} ${r}`;
    };
    const pages = (of: HptTable): string[] =>
      entries(of)
        .map(({ ptex, v, r }) => mapping(ptex, v, r, of))
        .sort();
    expect(pages(table)).toEqual(pages(guest));
  });

  test('does not fit a table of order 18', () => {
    expect(() => replaceTable(guest, 18)).toThrow("the guest's entries do not fit a table of order 18");
  });

  test('stands in the VM as it is in the image', async () => {
    const vm = new EmulatedVm({ host: 'power8' });
    await loadTable(vm, guest);
    expect(compareTables(vm.table!, guest).count).toBe(0);
  });
});

describe('the demo of a whole guest', () => {
  test('moves memory, table and registers, shows both side by side, and compares with an unmoved guest', async () => {
    const output = captureOutput();
    expect(await run(['demo', '--whole-guest', '--order', '19', '--rate', '1000'], output)).toBe(0);
    const { text } = output.stdout;
    expect(text).toContain('Moved a Linux guest: 1.07 GB of memory, its table of order 19');
    expect(text).toMatch(/^1 +16,384 +[\d,]+ +[\d.]+ MB +[\d.]+ (ms|s)$/m);
    expect(text).toMatch(/^\d+ \(guest stopped\) +[\d,]+ +[\d,]+ +[\d.]+ [kM]?B +[\d.]+ m?s$/m);
    const [, moved, unmoved] = /^checksum +(\d+),.*\nunmoved +(\d+),/m.exec(text)!;
    expect(moved).toBe(unmoved);
    expect(text).toMatch(
      /\nverified: checksum, table and memory are those of the guest that was not moved\n\n[.\d\n]+\n\. empty, /,
    );
    expect(output.stderr.text).toMatch(/^memory round 1.* \| table/m);
  });
});

describe('the demo', () => {
  test('moves the guest, and prints what a person wants to know', async () => {
    const output = captureOutput();
    expect(await run(['demo', ...BUSY], output)).toBe(0);
    const { text } = output.stdout;
    expect(text).toContain('Moved the page table of a Linux guest: order 23, 524,288 entries');
    expect(text).toMatch(/^pass +entries +bytes +time$/m);
    expect(text).toMatch(/^1 +[\d,]+ +[\d.]+ kB +[\d.]+ (ms|s)$/m);
    expect(text).toMatch(/^\d+ \(guest stopped\) +0 +0 B +[\d.]+ m?s$/m);
    expect(text).toMatch(/^guest stopped for +[\d.]+ m?s, of which [\d.]+ m?s comparing the two tables$/m);
    const [, source, destination] =
      /^source digest +([0-9a-f]{64})\ndestination digest +([0-9a-f]{64})$/m.exec(text)!;
    expect(source).toBe(destination);
    expect(text).toMatch(
      /\nverified: all [\d,]+ entries are the same in both tables\n\n[.\d\n]+\n\. empty, /,
    );
    expect(text).toContain('npx kvm-htab demo --save moved.hpt');
    expect(output.stderr.text).toMatch(/^two emulated machines; the rate is limited to [\d.]+ MB\/s/);
    expect(output.stderr.text).toMatch(/^pass 1 100%: /m);
  });

  test.each([
    ['19', '5'],
    ['26', '6'],
  ])('prints one JSON document with --json, also with --order %s --seed %s', async (order, seed) => {
    const output = captureOutput();
    expect(await run(['demo', '--json', '--order', order, '--seed', seed, ...BUSY], output)).toBe(0);
    const outcome = JSON.parse(output.stdout.text) as Omit<DemoOutcome, 'passes'> & {
      readonly passes: number;
      readonly passReports: DemoOutcome['passes'];
    };
    expect(output.stdout.text).not.toMatch(/\.\d{4}/);
    expect(outcome).not.toHaveProperty('port');
    expect(outcome).toMatchObject({
      format: 2,
      seed: Number(seed),
      order: Number(order),
      rate: 50_000,
      verified: true,
      differences: { count: 0, ptexes: [] },
      sourceDigest: outcome.digest,
      destinationDigest: outcome.digest,
    });
    expect(outcome.guest.steps).toBeGreaterThan(0);
    expect(outcome.passes).toBeGreaterThanOrEqual(3);
    expect(outcome.passReports).toHaveLength(outcome.passes);
    expect(outcome.passReports.at(-1)).toMatchObject({ live: false, bytes: 0 });
  });

  test('saves the moved table, for the commands that it names to look further', async () => {
    const file = scratch('moved.hpt');
    const output = captureOutput();
    expect(await run(['demo', '--save', file, ...BUSY], output)).toBe(0);
    const { text } = output.stdout;
    expect(text).toContain(`  npx kvm-htab report ${file} -o report.html`);
    expect(text).not.toContain('--save');
    const inspected = captureOutput();
    expect(await run(['inspect', file, '--json'], inspected)).toBe(0);
    const { validCount } = JSON.parse(inspected.stdout.text) as { validCount: number };
    expect(text).toContain(`verified: all ${validCount.toLocaleString('en-US')} entries`);
  });

  test('ends with 1, and says where, if anything differs', async () => {
    const compare = vi.spyOn(verdict, 'compareVms');
    compare.mockImplementationOnce(async (source, destination) => {
      if (!(destination instanceof EmulatedVm)) throw new TypeError('the demo emulates');
      const table = destination.table!;
      table.set(table.valid.next(1000), 1n, 0x190n);
      return verdict.compareVms(source, destination);
    });
    const output = captureOutput();
    expect(await run(['demo', ...BUSY], output)).toBe(1);
    expect(output.stdout.text).toMatch(/\nNOT VERIFIED: 1 entries differ, the first of them \d+\n\n/);
    compare.mockRestore();
  });

  test('ends with the reason of an abort, and leaves the terminal as it was', async () => {
    const output = captureOutput({ terminal: true });
    const stop = new Error('enough');
    const controller = new AbortController();
    const write = output.stderr.write.bind(output.stderr);
    output.stderr.write = ((chunk: string): boolean => {
      if (chunk.includes('pass 1')) controller.abort(stop);
      return write(chunk);
    }) as typeof output.stderr.write;
    await expect(demo({ seed: 1, order: 23, rate: 1000 }, output, controller.signal)).rejects.toBe(stop);
    expect(output.stdout.text).toBe('');
    expect(output.stderr.text.endsWith('\u001b[?7h\n') || output.stderr.text.includes('\u001b[?25h')).toBe(
      true,
    );
  });

  // Signals and process exit can only be seen from outside; `npm test` compiles first.
  test.skipIf(notCompiled !== undefined)('ends soon on SIGINT with 130, and prints no result', async () => {
    const child = spawn(process.execPath, [MAIN, 'demo', '--rate', '100'], {
      stdio: 'pipe',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    const started = new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString();
        if (stderr.includes('pass 1')) resolve();
      });
    });
    await started;
    child.kill('SIGINT');
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect({ code, signal, stdout }).toEqual({ code: 130, signal: null, stdout: '' });
    expect(stderr).toContain('kvm-htab: ended by SIGINT');
  });
});
