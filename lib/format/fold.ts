import { outOfRange } from '../errors.js';
import type { HptTable } from '../hpt/table.js';
import type { RecordCursor } from './cursor.js';

/** What was applied to a table. */
export interface FoldCounts {
  /** Records begun: one that is cut by a chunk's end counts where its first entries are. */
  readonly records: number;
  /** Entries stored. */
  readonly validEntries: number;
  /** Entries made invalid, whether they had been valid or not. */
  readonly invalidEntries: number;
}

/**
 * Applies the records that are left of the cursor's chunk to a table, in order: valid entries are stored with the bytes
 * they came in, invalid ones removed, all others stay. Dirty marks are not touched.
 *
 * @throws RangeError if the cursor would let records pass that go beyond the table: give it the table's order
 * @throws HtabFormatError from the cursor; what came before the record it names has been applied
 */
export function foldRecords(cursor: RecordCursor, table: HptTable): FoldCounts {
  if (cursor.entryLimit > table.entryCount) {
    throw outOfRange(
      'cursor.entryLimit',
      `at most the table's ${table.entryCount} entries`,
      cursor.entryLimit,
    );
  }
  const before = cursor.recordIndex;
  let validEntries = 0;
  let invalidEntries = 0;
  while (cursor.next()) {
    const { index, validCount, invalidCount } = cursor;
    table.applyRecord(index, validCount, invalidCount, cursor.longs, cursor.wordOffset >>> 1);
    validEntries += validCount;
    invalidEntries += invalidCount;
  }
  return { records: cursor.recordIndex - before, validEntries, invalidEntries };
}
