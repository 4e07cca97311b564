import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { probeMachine } from '../../lib/cli/probe/run.js';
import { reportFields } from '../../lib/cli/report/json.js';
import { run } from '../../lib/cli/program.js';
import { HtabUnavailableError } from '../../lib/base/errors.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import * as saving from '../../lib/snapshot/save.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import type { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import * as probing from '../../lib/vm/kvm/probe.js';
import { scratchFolder } from '../scratch.js';
import { captureOutput, type CapturedOutput } from './capture.js';
import { MAIN, notCompiled } from './processes.js';

const root = scratchFolder();

const newFile = (): string => path.join(mkdtempSync(path.join(root, 'folder-')), 'table.snap');

async function execute(...args: string[]): Promise<CapturedOutput & { readonly code: number }> {
  const output = captureOutput();
  const code = await run(args, output);
  return { ...output, code };
}

const json = (output: CapturedOutput): unknown => JSON.parse(output.stdout.text);

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
      expect((await execute('save', '--quiet', '--emulated=order=18', ...args, newFile())).code).toBe(0);
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
    const file = newFile();
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
    const file = newFile();
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
    const file = newFile();
    const { code, stdout, stderr } = await execute('save', '--quiet', '--emulated=order=18', file);
    expect([code, stdout.text, stderr.text]).toEqual([0, '', '']);
    expect(existsSync(file)).toBe(true);
  });

  test('pauses the guest by commands where these are given', async () => {
    const file = newFile();
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
    const file = newFile();
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
    const file = newFile();
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
    const file = newFile();
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

describe('kvm-htab load', () => {
  const file = path.join(root, 'loaded.snap');

  test('loads what was saved, reads it back, and says so', async () => {
    expect((await execute('save', '--quiet', '--emulated=order=19,seed=8', file)).code).toBe(0);
    const { info } = await readSnapshot(file);
    const { code, stdout, stderr } = await execute('load', '--emulated', '--read-back', file);
    expect(code).toBe(0);
    expect(stdout.text).toContain(`Loaded ${file} into an emulated VM: order 19, 32,768 entries, `);
    expect(stdout.text).toContain(`digest  ${info.digest}\nverified: `);
    expect(stderr.text).toBe(`verifying ${file}\nwriting: 100%\nreading the table back\n`);
  });

  test('with --json prints one document, with --quiet nothing', async () => {
    const output = await execute('load', '--json', '--emulated=host=power8', file);
    expect([output.code, output.stderr.text]).toEqual([0, '']);
    const { info } = await readSnapshot(file);
    expect(json(output)).toEqual({
      file,
      target: 'an emulated VM',
      ...reportFields(info),
      verified: false,
    });
    const { code, stdout, stderr } = await execute('load', '--quiet', '--emulated', file);
    expect([code, stdout.text, stderr.text]).toEqual([0, '', '']);
  });

  test('of a damaged file ends with 1, and tells the place', async () => {
    const damaged = path.join(root, 'damaged.snap');
    const bytes = readFileSync(file);
    bytes[200]! ^= 1;
    writeFileSync(damaged, bytes);
    const { code, stdout, stderr } = await execute('load', '--emulated', damaged);
    expect([code, stdout.text]).toEqual([1, '']);
    expect(stderr.text).toContain(damaged);
    expect(stderr.text).toMatch(/CRC32 is wrong \(frame 1 at byte \d+\)/);
    const none = await execute('load', '--emulated', path.join(root, 'none'));
    expect(none.code).toBe(1);
    expect(none.stderr.text).toContain('ENOENT');
  });
});

describe('kvm-htab probe', () => {
  test('says what there is, and ends with 0 or 3', async () => {
    const text = await execute('probe');
    expect([0, 3]).toContain(text.code);
    expect(text.stdout.text).toMatch(/^machine +linux/);
    expect(text.stdout.text).toMatch(
      text.code === 0 ? /^kvm backend +usable$/m : /^kvm backend +not usable: /m,
    );
    const document = json(await execute('probe', '--json')) as { usable: boolean };
    expect(document.usable).toBe(text.code === 0);
    const quiet = await execute('probe', '--quiet');
    expect([quiet.code, quiet.stdout.text, quiet.stderr.text]).toEqual([text.code, '', '']);
  });

  test('gives the reason, and what to do about it, where there is no such device', async () => {
    const output = await execute('probe', '--json', '--device', path.join(root, 'kvm'));
    expect(output.code).toBe(3);
    expect(json(output)).toMatchObject({
      usable: false,
      device: path.join(root, 'kvm'),
      problem: { code: 'ERR_HTAB_UNAVAILABLE' },
    });
  });

  test('lists flavour, capabilities and page sizes of a POWER host', async () => {
    const findings: probing.ProbeResult = {
      platform: 'linux',
      arch: 'ppc64',
      byteOrder: 'LE',
      kernel: '6.12.107',
      device: '/dev/kvm',
      apiVersion: 12,
      flavour: 'hv',
      hostMmu: 'radix',
      capabilities: { ...zeroes(), PPC_HTAB_FD: 1, SPAPR_RESIZE_HPT: 1 },
      smmu: {
        pageSizesReal: true,
        has1TSegments: true,
        noHash: false,
        slbSize: 32,
        dataKeys: 32,
        instructionKeys: 32,
        segments: [
          {
            basePageShift: 12,
            slbEncoding: 0,
            pageSizes: [
              { pageShift: 12, encoding: 0 },
              { pageShift: 16, encoding: 7 },
            ],
          },
          { basePageShift: 24, slbEncoding: 0x100, pageSizes: [{ pageShift: 24, encoding: 0 }] },
          { basePageShift: 34, slbEncoding: 0x120, pageSizes: [{ pageShift: 34, encoding: 3 }] },
        ],
      },
    };
    const probe = vi.spyOn(probing, 'probe').mockResolvedValueOnce(findings);
    const output = captureOutput();
    expect(await probeMachine({ device: '/dev/kvm' }, output)).toBe(0);
    expect(output.stdout.text).toBe(`machine       linux 6.12.107, ppc64, little-endian
device        /dev/kvm, KVM API 12
flavour       hv
host MMU      radix
capabilities  PPC_HTAB_FD=1 SPAPR_RESIZE_HPT=1
page sizes    4K as 4K, 64K; 16M as 16M; 16G as 16G
kvm backend   usable
`);
    const problem = new HtabUnavailableError('no-device', 'no device', 'load the modules');
    probe.mockResolvedValueOnce({ ...findings, byteOrder: 'BE', problem });
    expect(await probeMachine({ device: '/dev/kvm' }, output)).toBe(3);
    expect(output.stdout.text).toContain('big-endian\n');
    expect(output.stdout.text).toContain('kvm backend   not usable: no device; load the modules\n');
    probe.mockRestore();
  });

  function zeroes(): Record<probing.CapabilityName, number> {
    const names = Object.keys(probing.capabilityNumbers) as probing.CapabilityName[];
    return Object.fromEntries(names.map((name) => [name, 0])) as Record<probing.CapabilityName, number>;
  }
});

// Signals and process exit can only be seen from outside; `npm test` compiles first.
describe.skipIf(notCompiled !== undefined)('a kvm-htab save that is stopped', () => {
  /** A save that has its first passes in the file, and waits for a guest that is slow to stop. */
  async function begin(
    file: string,
  ): Promise<{ child: ReturnType<typeof spawn>; ended: Promise<unknown[]>; log: string; goOn: () => void }> {
    const folder = mkdtempSync(path.join(root, 'hooks-'));
    const [log, gate] = [path.join(folder, 'log'), path.join(folder, 'gate')];
    const pause = `echo pausing >> ${log}; while ! test -e ${gate}; do sleep 0.02; done`;
    const hooks = ['--on-pause', pause, '--on-resume', `echo resumed >> ${log}`];
    const args = [MAIN, 'save', '--quiet', '--emulated=order=18', ...hooks, file];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = once(child, 'close');
    const goOn = (): void => {
      writeFileSync(gate, '');
    };
    onTestFinished(goOn);
    await vi.waitFor(() => readFileSync(log), { timeout: 60_000, interval: 20 });
    return { child, ended, log, goOn };
  }

  test('by SIGINT ends with 130 and a guest that runs, and leaves what was there', async () => {
    const file = newFile();
    writeFileSync(file, 'before');
    const { child, ended, log, goOn } = await begin(file);
    child.kill('SIGINT');
    goOn();
    expect(await ended).toEqual([130, null]);
    expect(readFileSync(log, 'utf8')).toBe('pausing\nresumed\n');
    expect(readdirSync(path.dirname(file))).toEqual(['table.snap']);
    expect(readFileSync(file, 'utf8')).toBe('before');
  });

  test.each([undefined, 'before'])(
    'by SIGKILL leaves what was there (%s), and half a file only under a name of its own',
    async (before) => {
      const file = newFile();
      if (before !== undefined) writeFileSync(file, before);
      const { child, ended } = await begin(file);
      child.kill('SIGKILL');
      expect(await ended).toEqual([null, 'SIGKILL']);
      const left = readdirSync(path.dirname(file)).filter((name) => name !== 'table.snap');
      expect(left).toEqual([expect.stringMatching(/^\.kvm-htab-.+-[0-9a-f]{8}\.tmp$/)]);
      const half = path.join(path.dirname(file), left[0]!);
      expect(statSync(half).size).toBeGreaterThan(1000);
      await expect(readSnapshot(half)).rejects.toMatchObject({ code: 'ERR_HTAB_FORMAT' });
      expect(existsSync(file) ? readFileSync(file, 'utf8') : undefined).toBe(before);
      // The next one takes it away.
      expect((await execute('save', '--quiet', '--emulated=order=18', file)).code).toBe(0);
      expect(readdirSync(path.dirname(file))).toEqual(['table.snap']);
    },
  );

  test('by a file system that takes no more of the file says so, and leaves what was there', async () => {
    const file = newFile();
    writeFileSync(file, 'before');
    // 8 KiB, in blocks of 512 bytes or of 1 KiB, depending on the shell.
    const child = spawn('/bin/sh', [
      ...['-c', 'ulimit -f 8 && exec "$0" dist/bundle/main.js save --quiet --emulated=order=18 "$1"'],
      ...[process.execPath, file],
    ]);
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(stderr).toContain(`write the snapshot ${file}: write failed with EFBIG; `);
    expect(readdirSync(path.dirname(file))).toEqual(['table.snap']);
    expect(readFileSync(file, 'utf8')).toBe('before');
  });
});
