import { expect, test } from 'vitest';
import { ColumnValues } from '../../lib/cli/export/column-values.js';

test.each([
  ['long', [5n, 2n ** 63n - 1n, 0n]],
  ['hex', [5n, 2n ** 64n - 1n, 0n]],
  ['index', [5, 2 ** 36 - 1, 0]],
  ['int', [5, 2 ** 31 - 1, 0]],
  ['flag', [true, false, true]],
  ['text', ['1T', '256M', '']],
] as const)(
  'a column of type %s gives what was set, with absent values anywhere in any batch',
  (type, values) => {
    const column = new ColumnValues(type, 4);
    const batches = [
      values,
      [undefined, ...values],
      values.slice(0, 1),
      [...values, undefined],
      [undefined],
      [values[2], undefined, values[1]],
      values,
    ];
    for (const batch of batches) {
      for (const [row, value] of batch.entries()) column.set(row, value);
      expect(Array.from(column.take(batch.length))).toEqual(batch);
    }
  },
);
