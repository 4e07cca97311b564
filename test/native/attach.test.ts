import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Descriptor } from '../../lib/vm/kvm/addon.js';
import { addonIfBuilt, scratchFolder } from './support.js';
import { WAITING_SOURCE, Waiting, compile, hasCompilers } from './waiting.js';

const { EAGAIN, ENOTTY, ESRCH, ETIMEDOUT } = constants.errno;

const addon = addonIfBuilt();
// The registers of x86 stand in for those of POWER, and an ioctl of any kernel for KVM's.
const isTestMachine = process.arch === 'x64' && addon !== undefined && hasCompilers;
if (!isTestMachine) process.stderr.write('skipping the tests of the tracer: they need x64, cc and c++\n');

describe.skipIf(!isTestMachine)('the tracer', () => {
  const folder = scratchFolder();
  const program = (name: string): string => path.join(folder, name);
  beforeAll(() => {
    const here = import.meta.dirname;
    const native = ['attach.cc', 'tracer.cc'].map((file) => path.join(here, '../../native', file));
    compile('cc', program('waiting'), WAITING_SOURCE);
    compile('c++', program('kill-tracer'), path.join(here, 'kill-tracer.cc'), ...native);
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
