import assert from 'node:assert/strict';
import type { Test } from '../runner.js';
import { addressTests } from './addresses.js';
import { attachedTests } from './attached.js';
import { readDebugfs } from './debugfs.js';
import { moveTests, resizeTest } from './moves.js';
import type { QemuSeries } from './qemu.js';
import { MIN_ENTRIES, SharedGuest } from './shared-guest.js';
import { streamTests } from './streams.js';

/** Less than the rig waits for a line; on a machine of its own the slowest takes a minute. */
const TIMEOUT_MS = 840_000;

/** Unmodified QEMU with a Linux guest, which is booted once and goes on through all tests. */
export function qemuSuite(suite: Test, series: QemuSeries): void {
  const test: Test = (name, body) => {
    suite(name, body, { timeoutMs: TIMEOUT_MS });
  };
  const guest = new SharedGuest(series);

  test('a Linux guest boots, and finds its memory as it wrote it', async ({ signal }) => {
    const qemu = await guest.qemu(signal);
    await qemu.works(signal);
    assert.ok(readDebugfs(qemu.debugfsPath).size > MIN_ENTRIES);
  });

  addressTests(test, guest);
  moveTests(test, guest);
  streamTests(test, guest);
  attachedTests(test, guest);
  resizeTest(test, guest);
}
