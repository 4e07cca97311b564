import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { Host } from './host.js';
import type { Test, TestContext } from './runner.js';

const TIMEOUT_MS = 60_000;

/** How a program of test/power/kernel-bugs ends: fault.h. */
const FAULTY = 1;

const HARMLESS = ['several-records', 'return-beyond-count', 'table-freed', 'lost-changes'];
/** In this order: the first leaves a kernel that goes on. */
const CRASHING = ['order-zero', 'rehash-collision'];

/**
 * The faults of kernel-abi.md 0, each shown by a program that can be sent with a report. A kernel that has been mended
 * fails here: then its trap is a property of older kernels alone.
 *
 * @param mayCrash runs those that stop a kernel too
 */
export function kernelBugsSuite(test: Test, host: Host, mayCrash: boolean): void {
  for (const name of HARMLESS) {
    test(`${name} shows its fault`, (t) => {
      assert.equal(run(name, [], t), FAULTY);
    });
  }

  test('debugfs-raw-words shows its fault on POWER9, and none on POWER8', (t) => {
    assert.equal(run('debugfs-raw-words', [], t), host.processor === 'power9' ? FAULTY : 0);
  });

  for (const name of CRASHING) {
    test(`${name} shows its fault`, (t) => {
      if (!mayCrash) t.skip('it can stop the kernel: --may-crash runs it');
      assert.equal(run(name, ['--may-crash'], t), FAULTY);
    });
  }
}

/** @returns its exit status; null if it was killed */
function run(name: string, args: readonly string[], t: TestContext): number | null {
  const { status, stdout } = spawnSync(`bin/${name}`, args, { encoding: 'utf8', timeout: TIMEOUT_MS });
  for (const line of stdout.trimEnd().split('\n')) t.note(line);
  return status;
}
