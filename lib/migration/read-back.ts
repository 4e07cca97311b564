import { HtabError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import type { HptTable } from '../hpt/table.js';
import { differs, firstDifference } from '../io/read-back.js';
import type { HptReader } from '../io/reader.js';

/**
 * Reads back what was written to a table, and compares it with what should be there. The reader was opened before the
 * first write, so each check after the first reads only what was written since (kernel-abi.md 4.6): what has to be
 * compared while the guest stands still is what changed last.
 */
export class ReadBack {
  readonly #reader: HptReader;
  readonly #expected: HptTable;
  #complete = false;

  /** @param expected is looked at while a check is made, and must not change then */
  constructor(reader: HptReader, expected: HptTable) {
    this.#reader = reader;
    this.#expected = expected;
  }

  /**
   * Compares everything, the first time; then what was written since.
   *
   * @throws HtabError `ERR_HTAB_VERIFY` naming the first entry that differs
   * @throws HtabStateError as `HptReader`
   */
  async check(): Promise<void> {
    const { order, entryCount } = this.#expected;
    const cursor = new RecordCursor({ order, ascending: true });
    let named = 0;
    for await (const records of this.#reader.pass()) {
      cursor.push(records);
      while (cursor.next()) {
        checkRecord(this.#expected, cursor);
        named += cursor.validCount + cursor.invalidCount;
      }
    }
    cursor.finish();
    if (!this.#complete && named !== entryCount) {
      throw new HtabError(
        'ERR_HTAB_VERIFY',
        `reading the table back gave ${named} of its ${entryCount} entries`,
      );
    }
    this.#complete = true;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }
}

/**
 * Compares the cursor's record with what its entries should be.
 *
 * @throws HtabError `ERR_HTAB_VERIFY` naming the first entry that differs
 */
export function checkRecord(expected: HptTable, cursor: RecordCursor): void {
  const invalidFrom = cursor.index + cursor.validCount;
  const end = invalidFrom + cursor.invalidCount;
  const missing = cursor.invalidCount === 0 ? end : expected.valid.next(invalidFrom, end);
  const ptex = firstDifference(expected, cursor) ?? (missing < end ? missing : undefined);
  if (ptex !== undefined) throw differs(expected, ptex);
}
