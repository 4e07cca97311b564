import { checkMethod, outOfRangeError } from '../base/arguments.js';
import type { RecordCounts } from '../hpt/record-source.js';
import { checkTable, type HptTable } from '../hpt/table.js';
import type { RecordCursor } from './cursor.js';

/** What was applied to a table. A record that is cut by a chunk's end counts where its first entries are. */
export type FoldCounts = Readonly<RecordCounts>;

/**
 * Applies the records that are left of the cursor's chunk to a table, in order: valid entries are stored with the bytes
 * they came in, invalid ones removed, all others stay. Dirty marks are not touched.
 *
 * @throws RangeError if the cursor would let records pass that go beyond the table: give it the table's order
 * @throws HtabFormatError from the cursor; what came before the record it names has been applied
 */
export function foldRecords(cursor: RecordCursor, table: HptTable): FoldCounts {
  checkMethod('cursor', cursor, 'next', 'a RecordCursor');
  checkTable('table', table);
  if (cursor.entryLimit > table.entryCount) {
    throw outOfRangeError(
      'cursor.entryLimit',
      `at most the table's ${table.entryCount} entries`,
      cursor.entryLimit,
    );
  }
  const before = cursor.recordIndex;
  const counts: RecordCounts = { records: 0, validEntries: 0, invalidEntries: 0 };
  table.applyRecords(cursor, counts);
  return { ...counts, records: cursor.recordIndex - before };
}
