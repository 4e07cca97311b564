import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { readQemuStream } from '../../lib/qemu/stream/read-qemu-stream.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { saveFile } from '../qemu/libvirt-writer.js';
import { htabOf, record, streamOf } from '../qemu/stream-writer.js';
import { chunked, fixture } from '../qemu/support.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput, type CapturedOutput } from './capture.js';
import { execute } from './execute.js';

const scratch = scratchFiles();
const NAME = 'qemu-10.0.2-p9hash-1g';
const stream = written('guest.mig', fixture(NAME));
const odd = written('odd.mig', streamOf(htabOf(record(0xffff_fff8, 0, 16))));
const cut = written('cut.mig', fixture(NAME).subarray(0, 100_000));

function written(name: string, bytes: Uint8Array): string {
  const path = scratch(name);
  writeFileSync(path, bytes);
  return path;
}

describe('kvm-htab check', () => {
  test('tells what a stream is, and exits with 0 if nothing is odd', async () => {
    const { code, stdout } = await execute('check', stream);
    expect(code).toBe(0);
    expect(stdout.text).toMatch(/: a migration stream of QEMU, machine pseries-10\.0, 2\.94 MB$/m);
    expect(stdout.text).toMatch(/^table {4}order 23, 524,288 entries, 17,240 of them valid$/m);
    expect(stdout.text).toMatch(/^nothing odd$/m);
  });

  test('names what is odd, with its place, and exits with 1', async () => {
    const { code, stdout } = await execute('check', odd);
    expect(code).toBe(1);
    expect(stdout.text).toMatch(/^index-wraps: .* crashes \(at byte \d+ ptex 4294967288\)$/m);
    expect((await execute('check', '--quiet', odd)).stdout.text).toBe('');
  });

  test('prints the section and offset at which a stream cannot be read on', async () => {
    const { code, stdout, stderr } = await execute('check', cut, '--json');
    expect(code).toBe(1);
    expect(stderr.text).toMatch(/\(section spapr\/htab at byte \d+\)\n$/);
    expect(JSON.parse(stdout.text)).toMatchObject({ event: 'failed', code: 'ERR_HTAB_FORMAT' });
  });

  test('--json prints all of it as a document', async () => {
    const { stdout } = await execute('check', '--json', written('guest.save', saveFile(fixture(NAME))));
    expect(JSON.parse(stdout.text)).toMatchObject({
      kind: 'qemu',
      machine: 'pseries-10.0',
      order: 23,
      validEntries: 17_240,
      libvirt: { domain: 'guest', compression: 'raw', wasRunning: true },
      findings: [],
      sound: true,
    });
  });
});

describe('kvm-htab extract', () => {
  test('writes the table as a snapshot that check and load take', async () => {
    const target = scratch('guest.hpt');
    const { code, stdout } = await execute('extract', stream, '-o', target);
    expect([code, stdout.text]).toEqual([0, expect.stringContaining('17,240 of them valid')]);
    expect((await readSnapshot(target)).info.validEntries).toBe(17_240);
    expect((await execute('check', target)).code).toBe(0);
    const loaded = await execute('load', '--emulated', '--json', '--read-back', target);
    const direct = await execute('load', '--emulated', '--json', '--read-back', stream);
    expect([loaded.code, direct.code]).toEqual([0, 0]);
    const digestOf = ({ stdout: { text } }: CapturedOutput): unknown =>
      (JSON.parse(text) as { digest: string }).digest;
    expect(digestOf(direct)).toBe(digestOf(loaded));
  });

  test('writes to standard output, and its document to stderr', async () => {
    const bytes: Buffer[] = [];
    const stdout = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        bytes.push(Buffer.from(chunk));
        done();
      },
    });
    const { stderr } = captureOutput();
    expect(await run(['extract', stream, '-o', '-', '--json'], { stdout, stderr })).toBe(0);
    expect(JSON.parse(stderr.text)).toMatchObject({ output: '-', order: 23, machine: 'pseries-10.0' });
    expect((await readSnapshot(chunked(Buffer.concat(bytes)))).info.validEntries).toBe(17_240);
  });

  test('of a table that is not whole writes nothing', async () => {
    const target = scratch('none.hpt');
    const { code, stderr } = await execute('extract', odd, '-o', target);
    expect([code, existsSync(target)]).toEqual([1, false]);
    expect(stderr.text).toMatch(/no table that a guest could run on: .* crashes/);
    expect((await execute('extract', stream)).code).toBe(2);
  });
});

describe('kvm-htab rewrite', () => {
  test('puts the table of a file into another', async () => {
    const [table, target] = [scratch('guest.hpt'), scratch('new.mig')];
    await execute('extract', written('other.mig', fixture('qemu-7.2.22-tcg-1g')), '-o', table);
    const { code, stdout } = await execute('rewrite', stream, '--table', table, '-o', target);
    expect([code, stdout.text]).toEqual([0, expect.stringContaining('17,026 valid entries')]);
    expect((await readQemuStream(target)).table!.validCount).toBe(17_026);
    const json = await execute('rewrite', stream, '--table', stream, '-o', target, '--json');
    expect(JSON.parse(json.stdout.text)).toMatchObject({ order: 23, validEntries: 17_240 });
  });

  test('refuses a table that no guest should run on, unless it is asked for', async () => {
    const own = written('order18.mig', streamOf(htabOf(record(0, 3))));
    const target = scratch('refused.mig');
    const empty = ['rewrite', own, '--table', written('empty.mig', streamOf(htabOf())), '-o', target];
    const memory = Buffer.alloc(1 << 18);
    record(0, 3).copy(memory, 0, 8);
    const image = ['rewrite', own, '--table', written('memory.hpt', memory), '-o', target];
    const without = await execute(...empty);
    expect([without.code, existsSync(target)]).toEqual([1, false]);
    expect(without.stderr.text).toMatch(/--allow-empty: the table has no valid entries, .* has 3/);
    const changing = await execute(...image);
    expect([changing.code, existsSync(target)]).toEqual([1, false]);
    expect(changing.stderr.text).toContain('a guest must not run on it');
    expect((await execute(...empty, '--allow-empty')).code).toBe(0);
    expect((await execute(...image, '--allow-changing')).code).toBe(0);
  });

  test('refuses a table of another order, and leaves what was there', async () => {
    const target = written('kept.mig', Buffer.from('kept'));
    const small = written('small.mig', streamOf(htabOf()));
    const { code, stderr } = await execute('rewrite', stream, '--table', small, '-o', target);
    expect([code, readFileSync(target, 'utf8')]).toEqual([3, 'kept']);
    expect(stderr.text).toContain('has order 23, and the one given 18');
  });
});

test('an emulated guest gets the table of a stream', async () => {
  const target = scratch('saved.hpt');
  expect((await execute('save', `--emulated=file=${stream}`, '--quiet', target)).code).toBe(0);
  expect((await readSnapshot(target)).info.validEntries).toBe(17_240);
});
