import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { addonFile, addonIfBuilt, scratchFolder } from './support.js';
import { WAITING_SOURCE, Waiting, compile, hasCompilers } from './waiting.js';

const { EINVAL, EPERM } = constants.errno;
const SCOPE_FILE = '/proc/sys/kernel/yama/ptrace_scope';
/** Two users without rights, where this process may become them. */
const [NOBODY, ANOTHER] = [65_534, 65_533];
const CAP_SYS_ADMIN = 21n;

const isRoot = process.getuid?.() === 0;
const scope = existsSync(SCOPE_FILE) ? readFileSync(SCOPE_FILE, 'utf8').trim() : '0';
const folder = scratchFolder();
const [program, addon, script] = ['waiting', 'addon.node', 'attach-as.mjs'].map((name) =>
  path.join(folder, name),
) as [string, string, string];

/** Why these tests cannot run here. */
function missing(): string | undefined {
  if (process.arch !== 'x64') return 'they need x64';
  if (addonIfBuilt() === undefined) return 'they need the addon';
  if (!hasCompilers) return 'they need cc and c++';
  const { status } = spawnSync(process.execPath, ['-e', '0'], identity(NOBODY));
  return status === 0 ? undefined : 'an unprivileged user cannot run node here';
}

/** Of a process that runs as that user; as this one, where this one may not change it. */
function identity(user: number | undefined): { uid?: number; gid?: number } {
  return isRoot && user !== undefined ? { uid: user, gid: user } : {};
}

/** What the tracer gets that runs as this user. */
function attachAs(user: number | undefined, { pid, fd }: Waiting, filtered = false): object {
  const args = [script, addon, pid, fd, filtered].map(String);
  const { stdout, stderr } = spawnSync(process.execPath, args, { ...identity(user), encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout) as object;
}

/** Whether the kernel lets this process suspend another's filter. */
function maySuspendFilters(): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const [, effective = '0'] = /^CapEff:\s*(\w+)$/m.exec(status) ?? [];
  const isFiltered = !/^Seccomp:\s*0$/m.test(status);
  return !isFiltered && ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
}

const reason = missing();
if (reason !== undefined) process.stderr.write(`skipping the tests of the tracer's rights: ${reason}\n`);
if (!isRoot) process.stderr.write('skipping the tests of a tracer of another user: they need root\n');

const OPENED = { name: expect.stringMatching(/^user:/) as string };
const QUIET = { interrupted: 0, answers: 0, errors: 0, signals: 0 };

describe.skipIf(reason !== undefined)('a tracer', () => {
  beforeAll(() => {
    compile('cc', program, WAITING_SOURCE);
    copyFileSync(addonFile(), addon);
    copyFileSync(path.join(import.meta.dirname, 'attach-as.mjs'), script);
    for (const file of [folder, addon, script, program]) chmodSync(file, 0o755);
  });

  test(`without rights opens what a process of its own user has, where ptrace_scope is 0 (it is ${scope})`, async () => {
    await using target = await Waiting.start(program, 0, { user: isRoot ? NOBODY : undefined });
    const refused = { errno: EPERM, syscall: 'PTRACE_SEIZE' };
    expect(attachAs(NOBODY, target)).toEqual(scope === '0' ? OPENED : refused);
    expect(await target.end()).toEqual(QUIET);
  });

  test.skipIf(!isRoot)('without rights is refused by a process of another user', async () => {
    for (const user of [undefined, ANOTHER]) {
      await using target = await Waiting.start(program, 0, { user });
      expect(attachAs(NOBODY, target)).toEqual({ errno: EPERM, syscall: 'PTRACE_SEIZE' });
      expect(target.status('TracerPid')).toBe('0');
      expect(await target.end()).toEqual(QUIET);
    }
  });

  test('with the right to suspend a filter opens a descriptor under one that kills for it; without, harms nothing', async () => {
    await using target = await Waiting.start(program, 0, { seccomp: true });
    expect(target.status('Seccomp')).toBe('2');
    const got = attachAs(undefined, target, true);
    // A kernel without CONFIG_CHECKPOINT_RESTORE suspends none.
    const refused = { errno: maySuspendFilters() ? EINVAL : EPERM, syscall: 'PTRACE_O_SUSPEND_SECCOMP' };
    if (maySuspendFilters() && 'name' in got) expect(got).toEqual(OPENED);
    else expect(got).toEqual(refused);
    expect(target.status('TracerPid')).toBe('0');
    expect(target.status('Seccomp')).toBe('2');
    expect(await target.end()).toEqual(QUIET);
  });

  test('without rights is refused by a process of its own user that has a filter', async () => {
    await using target = await Waiting.start(program, 0, {
      user: isRoot ? NOBODY : undefined,
      seccomp: true,
    });
    const syscall = scope === '0' ? 'PTRACE_O_SUSPEND_SECCOMP' : 'PTRACE_SEIZE';
    if (isRoot || !maySuspendFilters()) {
      expect(attachAs(NOBODY, target, true)).toEqual({ errno: EPERM, syscall });
    }
    expect(await target.end()).toEqual(QUIET);
  });
});
