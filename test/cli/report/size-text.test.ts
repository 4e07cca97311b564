import { expect, test } from 'vitest';
import { growthOf, growthText } from '../../../lib/cli/report/size-text.js';
import { HptTable } from '../../../lib/hpt/table.js';
import { tableStats } from '../../../lib/inspect/table-stats.js';

test('a table of which one entry in a hundred has both groups full needs to grow', () => {
  const stats = { ...tableStats(new HptTable(18)), validCount: 10_000 };
  expect(growthOf({ ...stats, cornered: 99 })).toEqual({ needed: false, toOrder: undefined });
  expect(growthOf({ ...stats, cornered: 100 })).toEqual({ needed: true, toOrder: 19 });
});

test('an empty table need not grow', () => {
  expect(growthText(tableStats(new HptTable(18)))).toMatch(/^no: /);
});
