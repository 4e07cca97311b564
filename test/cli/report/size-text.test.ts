import { expect, test } from 'vitest';
import { growthText } from '../../../lib/cli/report/size-text.js';
import { HptTable } from '../../../lib/hpt/table.js';
import { tableStats } from '../../../lib/inspect/table-stats.js';

test('an empty table need not grow', () => {
  expect(growthText(tableStats(new HptTable(18)))).toMatch(/^no: /);
});
