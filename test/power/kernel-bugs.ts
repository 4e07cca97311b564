import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHashVm } from './conformance.js';
import type { Host } from './host.js';
import type { Test, TestContext } from './runner.js';

const TIMEOUT_MS = 90_000;
/** Length of the kernel's log, which boot.mjs sets. */
const LOG_BYTES = 2 ** 24;

/** How a program of test/power/kernel-bugs ends: fault.h. */
const FAULTY = 1;

/** Program -> the section of kernel-abi.md that has its fault. */
const HARMLESS = {
  'several-records': '0 #1',
  'return-beyond-count': '0 #2',
  'table-freed': '0 #5',
  'lost-changes': '0 #11',
};
/** In this order: the first leaves a kernel that goes on. */
const CRASHING = { 'order-zero': '0 #5', 'rehash-collision': '0 #12' };

/**
 * The faults of kernel-abi.md 0, each shown by a program that can be sent with a report. A kernel that has been mended
 * fails here: then its trap is a property of older kernels alone.
 *
 * @param mayCrash runs those that stop a kernel too
 */
export function kernelBugsSuite(test: Test, host: Host, mayCrash: boolean): void {
  for (const [name, section] of Object.entries(HARMLESS)) {
    test(`${name} shows its fault (${section})`, (t) => {
      assert.equal(run(name, [], t), FAULTY);
    });
  }

  test('debugfs-raw-words shows its fault on POWER9, and none on POWER8 (9)', (t) => {
    assert.equal(run('debugfs-raw-words', [], t), host.processor === 'power9' ? FAULTY : 0);
  });

  test('a COMMIT before the guest uses its MMU leaves a warning in the log (0 #10)', async () => {
    await using vm = await createHashVm(host);
    await vm.allocateHpt(18);
    await assert.rejects(vm.commitHptResize(18), { errnoName: 'EIO' });
    const { stdout } = spawnSync('dmesg', { encoding: 'utf8', maxBuffer: LOG_BYTES });
    assert.match(stdout, /WARNING: .*kvm_vm_ioctl_resize_hpt_commit/);
  });

  for (const [name, section] of Object.entries(CRASHING)) {
    test(`${name} shows its fault (${section})`, (t) => {
      if (!mayCrash) t.skip('it can stop the kernel: --may-crash runs it');
      assert.equal(run(name, ['--may-crash'], t), FAULTY);
    });
  }

  // Last: if another thread of the kernel waits for that lock, the machine stands still.
  test('preempted-lock shows its fault on a POWER9 that can be preempted, and none elsewhere (10.2)', (t) => {
    if (!mayCrash) t.skip('it leaves a process that never ends: --may-crash runs it');
    const isFaulty = host.processor === 'power9' && host.isPreemptible;
    assert.equal(run('preempted-lock', ['--may-crash'], t), isFaulty ? FAULTY : 0);
  });
}

/** @returns its exit status; null if it was killed */
function run(name: string, args: readonly string[], t: TestContext): number | null {
  const { status, stdout } = spawnSync(`bin/${name}`, args, { encoding: 'utf8', timeout: TIMEOUT_MS });
  for (const line of stdout.trimEnd().split('\n')) t.note(line);
  return status;
}
