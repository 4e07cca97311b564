import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Descriptor } from '../../lib/vm/kvm/addon.js';
import { addonIfBuilt, scratchFolder } from './support.js';

const { EAGAIN, ENOTTY, ESRCH, ETIMEDOUT } = constants.errno;

const addon = addonIfBuilt();
const hasCompiler = [spawnSync('cc', ['--version']), spawnSync('c++', ['--version'])].every(
  ({ status }) => status === 0,
);
// The registers of x86 stand in for those of POWER, and an ioctl of any kernel for KVM's.
const isTestMachine = process.arch === 'x64' && addon !== undefined && hasCompiler;
if (!isTestMachine) process.stderr.write('skipping the tests of the tracer: they need x64, cc and c++\n');

/** What became of the waits of waiting.c. */
interface Waits {
  readonly interrupted: number;
  /** Calls that ended without anything to tell. */
  readonly answers: number;
  /** Calls that ended with an error that no caller knows. */
  readonly errors: number;
  readonly signals: number;
}

describe.skipIf(!isTestMachine)('the tracer', () => {
  const folder = scratchFolder();
  const program = (name: string): string => path.join(folder, name);
  beforeAll(() => {
    const here = import.meta.dirname;
    const native = ['attach.cc', 'tracer.cc'].map((file) => path.join(here, '../../native', file));
    const flags = ['-Wall', '-Wextra', '-Werror', '-O1', '-o'];
    execFileSync('cc', [...flags, program('waiting'), path.join(here, 'waiting.c')]);
    const sources = [path.join(here, 'kill-tracer.cc'), ...native];
    execFileSync('c++', ['-std=c++17', ...flags, program('kill-tracer'), ...sources]);
  });

  const open = (target: Waiting, fd = target.fd): Promise<Descriptor> =>
    addon!.openHtabIn(target.pid, target.pid, fd, 0, 0, false);

  test('opens a descriptor in a waiting process, which notices nothing and keeps none', async () => {
    await using target = await Waiting.start(program('waiting'), 0);
    const before = target.descriptors();
    for (let count = 0; count < 100; count++) {
      const descriptor = await open(target);
      expect((await addon!.inspectFile(descriptor)).name).toMatch(/^user:/);
      await descriptor.close();
    }
    expect(target.descriptors()).toEqual(before);
    expect(await target.end()).toEqual({ interrupted: 0, answers: 0, errors: 0, signals: 0 });
  });

  test('gives every signal that comes meanwhile', async () => {
    await using target = await Waiting.start(program('waiting'), 5000);
    const before = target.descriptors();
    // Long enough for some signals, however fast the machine is.
    const end = performance.now() + 200;
    for (let count = 0; count < 50 || performance.now() < end; count++) await (await open(target)).close();
    expect(target.descriptors()).toEqual(before);
    const { signals, interrupted, ...others } = await target.end();
    expect(others).toEqual({ answers: 0, errors: 0 });
    expect(signals).toBeGreaterThan(0);
    // A signal between two waits interrupts none.
    expect(interrupted).toBeLessThanOrEqual(signals);
  });

  test('that is killed at any of its system calls leaves a process that goes on, deaf to no signal', async () => {
    await using target = await Waiting.start(program('waiting'), 0);
    const args = [target.pid, target.pid, target.fd, 100].map(String);
    const { stdout, stderr } = spawnSync(program('kill-tracer'), args, { encoding: 'utf8' });
    expect(stderr).toBe('');
    const [, killed, places] = /^(\d+) killed at (\d+) places\n$/.exec(stdout)!;
    expect(Number(places)).toBeGreaterThan(0);
    expect(Number(killed)).toBeGreaterThanOrEqual(Math.max(100, Number(places)));
    expect(target.status('TracerPid')).toBe('0');
    expect(target.status('SigBlk')).toMatch(/^0+$/);
    await (await open(target)).close();
    expect(await target.end()).toMatchObject({ interrupted: 0, errors: 0 });
  });

  test("tells the kernel's refusal of the ioctl, and lets the process go on", async () => {
    await using target = await Waiting.start(program('waiting'), 0);
    await expect(open(target, 0)).rejects.toMatchObject({ errno: ENOTTY, syscall: 'NS_GET_USERNS' });
    expect(await target.end()).toEqual({ interrupted: 0, answers: 0, errors: 0, signals: 0 });
  });

  test('gives up on a thread that stays out of system calls', async () => {
    await using target = await Waiting.start(program('waiting'), -1);
    await expect(open(target)).rejects.toMatchObject({
      // A busy machine may not even stop it in time.
      errno: expect.toBeOneOf([EAGAIN, ETIMEDOUT]) as number,
    });
    expect(target.status('State')).toMatch(/^R/);
  });

  test('names the process that is not there', async () => {
    const { pid } = spawnSync('true');
    await expect(addon!.openHtabIn(pid, pid, 0, 0, 0, false)).rejects.toMatchObject({
      errno: ESRCH,
      syscall: 'pidfd_open',
    });
  });
});

/** A process of waiting.c. */
class Waiting implements AsyncDisposable {
  readonly pid: number;
  /** Number of the descriptor in it that has the ioctl. */
  readonly fd: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, fd: number) {
    this.pid = child.pid!;
    this.fd = fd;
    this.#child = child;
  }

  static async start(file: string, periodUs: number): Promise<Waiting> {
    const child = spawn(file, [String(periodUs)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return new Waiting(child, Number(line.toString()));
  }

  descriptors(): readonly string[] {
    return readdirSync(`/proc/${this.pid}/fd`);
  }

  status(field: string): string | undefined {
    const text = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1];
  }

  /** Lets it end, and gives what it has counted. */
  async end(): Promise<Waits> {
    this.#child.stdin!.end('\n');
    const [line] = (await once(this.#child.stdout!, 'data')) as [Buffer];
    return JSON.parse(line.toString()) as Waits;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    return Promise.resolve();
  }
}
