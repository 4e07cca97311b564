import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { reportFields } from '../../lib/cli/report/json.js';
import { run } from '../../lib/cli/program.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import * as saving from '../../lib/snapshot/save.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import type { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { scratchFiles, scratchFolder } from '../scratch.js';
import { captureOutput } from './capture.js';
import { MAIN, notCompiled } from './processes.js';
import { execute, json } from './execute.js';

const scratch = scratchFiles();
const root = scratchFolder();

describe('kvm-htab save', () => {
  test('stops the guest no longer than --stop-limit-ms, and by default as long as the library', async () => {
    const { saveSnapshot } = saving;
    const save = vi.spyOn(saving, 'saveSnapshot');
    onTestFinished(() => {
      save.mockRestore();
    });
    const limits: unknown[] = [];
    save.mockImplementation((source, file, options) => {
      limits.push(options!.stopLimitMs);
      return saveSnapshot(source, file, options);
    });
    for (const args of [[], ['--stop-limit-ms', '7000']]) {
      expect(
        (await execute('save', '--quiet', '--emulated=order=18', ...args, scratch('table.snap'))).code,
      ).toBe(0);
    }
    expect(limits).toEqual([120_000, 7000]);
  });

  test.each([
    [[], /^Saved the table of an emulated VM to standard output, /m],
    [['--json'], /^{\n {2}"file": "-",\n/m],
    [['--quiet'], /^$/],
  ] as const)('- %j: the snapshot goes to stdout, all that is said to stderr', async (args, said) => {
    const bytes: Buffer[] = [];
    const stdout = new Writable({
      write: (chunk: Buffer, _encoding, callback) => {
        bytes.push(Buffer.from(chunk));
        callback();
      },
    });
    const { stderr } = captureOutput();
    const command = ['save', '--emulated=order=18,steps=500', ...args, '-'];
    expect(await run(command, { stdout, stderr })).toBe(0);
    expect((await readSnapshot(Readable.from(bytes))).info.order).toBe(18);
    expect(stderr.text).toMatch(said);
    expect(existsSync('-')).toBe(false);
  });

  test('- tells on stderr that it has failed, also a program', async () => {
    const { code, stdout, stderr } = await execute('save', '--emulated=file=/nowhere/x', '--json', '-');
    expect([code, stdout.text]).toEqual([1, '']);
    expect(JSON.parse(stderr.text.split('\n')[0]!)).toMatchObject({ event: 'failed', exitCode: 1 });
  });

  test('- does not mix a snapshot with what is said, nor send it to a terminal', async () => {
    const args = ['save', '--emulated=order=18,steps=0', '-'];
    const one = captureOutput().stdout;
    expect(await run(args, { stdout: one, stderr: one })).toBe(2);
    expect(one.text).toMatch(/^kvm-htab: standard output and error are one file: [^\n]*\n$/);
    const terminal = captureOutput({ terminal: true });
    expect(await run(args, { stdout: terminal.stderr, stderr: terminal.stdout })).toBe(2);
    expect(terminal.stderr.text).toBe('');
  });

  test.skipIf(notCompiled !== undefined)('- and load - are the two ends of a pipe', async () => {
    const command = `'${process.execPath}' ${MAIN}`;
    const pipe = `${command} save - --emulated=order=18,steps=500 --quiet | ${command} load - --emulated --json`;
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', pipe]);
    expect(JSON.parse(stdout)).toMatchObject({ file: '-', order: 18, quiescent: true });
  });

  test('saves a table, and prints what a person wants to know', async () => {
    const file = scratch('table.snap');
    const { code, stdout, stderr } = await execute('save', '--emulated=order=20,seed=3', file);
    expect(code).toBe(0);
    const { info } = await readSnapshot(file);
    expect(stdout.text).toContain(`Saved the table of an emulated VM to ${file}, `);
    expect(stdout.text).toContain('order 20, 65,536 entries, ');
    expect(stdout.text).toMatch(/^pass +entries +bytes\n1 +[\d,]+ +[\d.]+ kB\n2 +0 +0 B$/m);
    expect(stdout.text).toContain(`guest              was not stopped\ndigest             ${info.digest}\n`);
    expect(stdout.text).not.toContain('STILL CHANGED');
    expect(stderr.text).toMatch(/^pass 1 100%: [\d,]+ entries/m);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('of a guest that runs stops it for the end; with --json it prints one document and nothing else', async () => {
    const file = scratch('table.snap');
    const output = await execute('save', '--json', '--emulated=order=20,rate=20000', file);
    expect([output.code, output.stderr.text]).toEqual([0, '']);
    const report = json(output) as saving.SaveReport;
    const { info } = await readSnapshot(file);
    expect(report).toMatchObject({ file, source: 'an emulated VM', ...reportFields(info) });
    expect(info).toMatchObject({ backend: 'emulated', host: 'power9', quiescent: true });
    expect(info.passes.length).toBeGreaterThanOrEqual(3);
    expect(report.stopMs).toBeGreaterThan(0);
  });

  test('with --quiet says nothing', async () => {
    const file = scratch('table.snap');
    const { code, stdout, stderr } = await execute('save', '--quiet', '--emulated=order=18', file);
    expect([code, stdout.text, stderr.text]).toEqual([0, '', '']);
    expect(existsSync(file)).toBe(true);
  });

  test('pauses the guest by commands where these are given', async () => {
    const file = scratch('table.snap');
    const log = path.join(root, 'log');
    const { code, stdout } = await execute(
      'save',
      '--emulated=order=18',
      ...['--on-pause', `echo paused >> ${log}`, '--on-resume', `echo resumed >> ${log}`],
      file,
    );
    expect(code).toBe(0);
    expect(readFileSync(log, 'utf8')).toBe('paused\nresumed\n');
    expect(stdout.text).toMatch(/^guest stopped for {2}[\d.]+ m?s$/m);
  });

  test('ends with 5 if the guest could not be resumed, and keeps no file', async () => {
    const file = scratch('table.snap');
    const { code, stderr } = await execute(
      ...['save', '--quiet', '--emulated=order=18', '--on-pause', 'true', '--on-resume', 'exit 3', file],
    );
    expect(code).toBe(5);
    expect(stderr.text).toContain('the command of --on-resume ended with status 3');
    expect(readdirSync(path.dirname(file))).toEqual([]);
  });

  test('of a guest that is not stopped ends with 1; with --allow-changing it is kept, with a warning, and not loaded', async () => {
    // Changes in every pass, which a guest that works by the clock cannot promise.
    const { saveSnapshot } = saving;
    const save = vi.spyOn(saving, 'saveSnapshot');
    onTestFinished(() => {
      save.mockRestore();
    });
    save.mockImplementation((source, file, options) =>
      saveSnapshot(source, file, {
        ...options,
        onProgress: ({ complete }) => complete && new GuestWorkload(source as EmulatedVm).step(50),
      }),
    );
    const file = scratch('table.snap');
    const refused = await execute('save', '--quiet', '--emulated=order=18', file);
    expect(refused.code).toBe(1);
    expect(refused.stderr.text).toContain('the table still changes after 16 passes');
    expect(existsSync(file)).toBe(false);
    const kept = await execute('save', '--allow-changing', '--max-passes', '3', '--emulated=order=18', file);
    expect(kept.code).toBe(0);
    expect(kept.stdout.text).toContain('THE TABLE STILL CHANGED');
    save.mockRestore();
    expect((await execute('load', '--quiet', '--emulated', file)).code).toBe(1);
    expect((await execute('load', '--quiet', '--emulated', '--allow-changing', file)).code).toBe(0);
  });

  test('into a folder that is not there ends with 1, and says why', async () => {
    const { code, stderr } = await execute('save', '--emulated=order=18', path.join(root, 'none', 'x'));
    expect(code).toBe(1);
    expect(stderr.text).toContain('open failed with ENOENT');
  });

  test('never takes the emulation for a guest: a descriptor that is none ends with 3', async () => {
    const file = scratch('table.snap');
    for (const args of [
      ['save', '--quiet', '--htab-fd', '1', '--order', '20', file],
      ['save', '--quiet', '--pid', String(process.pid), '--pid-fd', '1', '--order', '20', file],
    ]) {
      const { code, stderr } = await execute(...args);
      expect(code).toBe(3);
      expect(stderr.text).toMatch(/^kvm-htab: .+; .+\n$/s);
    }
    expect(existsSync(file)).toBe(false);
  });
});
