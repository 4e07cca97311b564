import { expect, test } from 'vitest';
import { LiveTable } from '../../../lib/migration/live-table.js';
import type { SourceAccess } from '../../../lib/migration/endpoints.js';

test('a table of which no fold can be made is refused before a reader of it is opened', async () => {
  let opened = 0;
  const access = {
    order: () => 47,
    open: () => {
      opened++;
      return Promise.resolve({});
    },
  } as unknown as SourceAccess;
  await expect(LiveTable.open(access, 4096)).rejects.toThrow(RangeError);
  expect(opened).toBe(0);
});
