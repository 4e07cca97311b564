import type { HptTable } from '../hpt/table.js';
import type { RecordCursor } from './cursor.js';
import { foldRecords, type FoldCounts } from './fold-records.js';
import { PassCounter, type IncompletePassError } from './pass-counter.js';

/** Applies the records of a table's passes to an {@link HptTable}, and counts them. */
export class TableFold extends PassCounter {
  /** The table as the records so far give it. */
  readonly table: HptTable;

  constructor(table: HptTable, incomplete: IncompletePassError) {
    super(table.order, incomplete);
    this.table = table;
  }

  protected override take(cursor: RecordCursor): FoldCounts {
    return foldRecords(cursor, this.table);
  }
}
