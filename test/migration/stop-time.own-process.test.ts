import { expect, test } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import type { HptTable } from '../../lib/hpt/table.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { linkStreams } from './harness/linked-streams.js';

/** The table of a 128 GiB guest: 2^27 entries in 2 GiB, of which so many are valid. */
const ORDER = 31;
const ENTRIES = 2 ** 27;
const VALID = 17_000;
const STRIDE = Math.floor(ENTRIES / VALID);
/** 1 in 1,000 of the valid entries changes from one pass to the next. */
const CHANGING = 1000;
/** What the stop may handle of what a scan over the table handles. */
const SHARE = 1 / 50;
/** What it may take of the CPU time of one: less is printed, but a busy machine blurs it. */
const CPU_SHARE = 1 / 10;
/** The least of several is what it costs: the first ones also compile. */
const ROUNDS = 8;

const H_ENTER = 0x08;
const H_PROTECT = 0x18;
const EXACT = 1n << 39n;

/** CPU time of this process so far, in ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** CPU time of a scan that looks at every entry, as the kernel makes one for each pass over its table. */
function scanMs(table: HptTable): number {
  const begun = cpuMs();
  let valid = 0;
  for (let ptex = 0; ptex < ENTRIES; ptex++) if (table.has(ptex)) valid++;
  expect(valid).toBe(VALID);
  return cpuMs() - begun;
}

test('while the guest stands still the work is in proportion to what has changed, not to the table', async () => {
  const vm = new EmulatedVm({ host: 'power8' });
  await vm.allocateHpt(ORDER);
  for (let k = 0; k < VALID; k++) {
    const entry = BigInt(k) << 12n;
    vm.hcall(H_ENTER, [EXACT, BigInt(k * STRIDE), entry | 0x01n, entry | 0x190n]);
  }
  const change = (): void => {
    for (let k = 0; k < VALID; k += CHANGING) vm.hcall(H_PROTECT, [0n, BigInt(k * STRIDE), 0n]);
  };
  const { valid, dirty } = vm.table!;
  expect([valid.count, dirty.count]).toEqual([VALID, 0]);

  let stopMs = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const [ours, theirs] = linkStreams();
    let stopped = 0;
    const [sent, received] = await Promise.all([
      sendHpt(vm, ours, {
        maxPasses: 2,
        downtimeMs: 0,
        onProgress: ({ complete, live }) => {
          if (complete && live) change();
        },
        pause: () => {
          stopped = cpuMs();
          return Promise.resolve();
        },
        resume: () => Promise.reject(new Error('it must move')),
      }),
      receiveHpt(new EmulatedVm({ host: 'power8' }), theirs).then((report) => {
        // Both agents and both emulated kernels, until the guest may run again.
        stopMs = Math.min(stopMs, cpuMs() - stopped);
        return report;
      }),
    ]);
    expect(received.digest()).toBe(sent.digest());

    const first = sent.passes[0]!;
    const afterPause = sent.passes.filter(({ live }) => !live);
    const named = afterPause.reduce((sum, pass) => sum + pass.validEntries + pass.invalidEntries, 0);
    const bytes = afterPause.reduce((sum, pass) => sum + pass.bytes, 0);
    expect(first.validEntries + first.invalidEntries).toBe(ENTRIES);
    expect(named).toBe(VALID / CHANGING);
    expect(named).toBeLessThan(VALID * SHARE);
    expect(bytes).toBe(24 * named);
    expect(bytes).toBeLessThan(first.bytes * SHARE);
  }
  const scan = scanMs(vm.table!);
  console.log(
    `order ${ORDER}, ${VALID} valid entries, ${VALID / CHANGING} changed: the stop takes both sides ${stopMs.toFixed(1)} ms of CPU; ` +
      `a scan of the table's ${ENTRIES} entries ${scan.toFixed(0)} ms, ${(scan / stopMs).toFixed(0)} times as much`,
  );
  expect(stopMs).toBeLessThan(scan * CPU_SHARE);
});
