import { existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { scratchFolder } from '../scratch.js';
import { captureOutput } from './capture.js';

const folder = scratchFolder();

describe('kvm-htab export', () => {
  test('of a live guest needs the name of the output alone, and says what it wrote', async () => {
    const file = path.join(folder, 'live.parquet');
    const output = captureOutput();
    expect(await run(['export', '--emulated=order=20,seed=3', file, '--json'], output)).toBe(0);
    expect(JSON.parse(output.stdout.text)).toMatchObject({
      ...{ source: 'an emulated VM', output: file, format: 'parquet', order: 20 },
    });
    expect(readFileSync(file).subarray(0, 4).toString()).toBe('PAR1');
  });

  test('- writes CSV to stdout, and the result to stderr', async () => {
    const output = captureOutput();
    expect(await run(['export', '--emulated=order=18,steps=100', '-'], output)).toBe(0);
    const lines = output.stdout.text.trimEnd().split('\n');
    expect(lines[0]).toBe('ptex,v,r');
    expect(lines[1]).toMatch(/^\d+,0x[0-9a-f]+,0x[0-9a-f]+$/);
    expect(output.stderr.text).toMatch(
      /^Exported \d+ entries of an emulated VM, order 18, to -\.\n\ndigest {2}[0-9a-f]{64}\n$/,
    );
  });

  test('writes Parquet to a pipe as to a file, and not to a terminal', async () => {
    const args = ['export', '--emulated=order=18,steps=100', '--format', 'parquet', '--quiet'];
    const file = path.join(folder, 'same.bin');
    expect(await run([...args, file], captureOutput())).toBe(0);
    const chunks: Buffer[] = [];
    const stdout = new Writable({
      write: (chunk: Buffer, _encoding, callback) => {
        chunks.push(Buffer.from(chunk));
        callback();
      },
    });
    expect(await run([...args, '-'], { stdout, stderr: captureOutput().stderr })).toBe(0);
    expect(Buffer.concat(chunks).equals(readFileSync(file))).toBe(true);
    const terminal = captureOutput({ terminal: true });
    expect(await run([...args, '-'], { stdout: terminal.stderr, stderr: terminal.stdout })).toBe(2);
  });

  test('leaves no file where it fails', async () => {
    const inside = mkdtempSync(path.join(folder, 'failed-'));
    const output = captureOutput();
    const target = path.join(inside, 'x.parquet');
    process.nextTick(() => process.emit('SIGINT', 'SIGINT'));
    expect(await run(['export', '--emulated=order=24', target], output)).toBe(130);
    expect([existsSync(target), readdirSync(inside)]).toEqual([false, []]);
  });
});
