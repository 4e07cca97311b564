import { expect, test } from 'vitest';
import { receiveSettings } from '../../../lib/migration/destination/receive-settings.js';
import { LazyTarget } from '../../../lib/migration/destination/lazy-target.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';

test.each([18, 36])('the fold of every connection is empty, and of the same memory (order %i)', (order) => {
  const target = new LazyTarget(() => Promise.resolve(new EmulatedVm()), receiveSettings({}));
  const fold = target.emptyTable(order);
  const entries = [0, 1, 65_535, 65_536, 2 ** 31, fold.entryCount - 1].filter(
    (ptex) => ptex < fold.entryCount,
  );
  for (const ptex of entries) fold.set(ptex, 1n, 0x190n);
  expect(target.emptyTable(order)).toBe(fold);
  expect([fold.validCount, ...entries.map((ptex) => fold.has(ptex))]).toEqual([
    0,
    ...entries.map(() => false),
  ]);
  expect(target.emptyTable(20)).not.toBe(fold);
});
