import { entryCount } from '../hpt/geometry.js';
import type { RecordCounts } from '../hpt/record-source.js';
import { RecordCursor } from './cursor.js';

/** Entries and bytes of one pass. */
export interface PassCounts {
  /** HPTEs in it. */
  readonly validEntries: number;
  /** Entries that it names as invalid; in the first pass, all that are empty. */
  readonly invalidEntries: number;
  /** Record bytes, without frames. */
  readonly bytes: number;
}

/**
 * Makes the error for a first pass that does not name every entry of the table.
 *
 * @param found the sentence that says so, with both numbers
 * @param named entries that the pass named
 */
export type IncompletePassError = (found: string, named: number, order: number) => Error;

const NOTHING: PassCounts = { validEntries: 0, invalidEntries: 0, bytes: 0 };

/**
 * Counts the records of a table's passes, and refuses a first pass that does not name every entry. It keeps no entry; a
 * `check` of the pass's cursor sees each record.
 *
 * ```ts
 * counter.beginPass();
 * for await (const records of reader.pass()) counter.add(records);
 * counter.endPass();
 * ```
 *
 * A pass that is left early may be taken up again, with {@link beginPass}: the first pass ends with the first call of
 * {@link endPass}.
 */
export class PassCounter {
  readonly order: number;
  readonly #incomplete: IncompletePassError;
  #cursor: RecordCursor;
  #counts: PassCounts = NOTHING;
  #passes = 0;
  #named = 0;

  constructor(order: number, incomplete: IncompletePassError) {
    this.order = order;
    this.#incomplete = incomplete;
    this.#cursor = new RecordCursor({ order, ascending: true });
  }

  /** Complete passes. */
  get passes(): number {
    return this.#passes;
  }

  /** Entries and bytes since {@link beginPass}. */
  get counts(): PassCounts {
    return this.#counts;
  }

  /** Records since {@link beginPass}. */
  get records(): number {
    return this.#cursor.recordIndex + 1;
  }

  /** ptex after the last entry named since {@link beginPass}. */
  get reached(): number {
    const { index, validCount, invalidCount } = this.#cursor;
    return index + validCount + invalidCount;
  }

  /** Entries that the first pass has named so far. */
  get named(): number {
    return this.#named;
  }

  /** @param cursor reads the pass; default: one that checks what every kernel checks, and that records ascend */
  beginPass(cursor = new RecordCursor({ order: this.order, ascending: true })): void {
    this.#cursor = cursor;
    this.#counts = NOTHING;
  }

  /**
   * @param records whole records of the pass
   * @returns what they hold
   * @throws HtabFormatError for records that no kernel gives; the counts stay as they were
   * @throws what the cursor's `check` throws
   */
  add(records: Uint8Array): Readonly<RecordCounts> {
    const cursor = this.#cursor;
    cursor.push(records);
    const added = this.take(cursor);
    cursor.finish();
    const { validEntries, invalidEntries, bytes } = this.#counts;
    this.#counts = {
      validEntries: validEntries + added.validEntries,
      invalidEntries: invalidEntries + added.invalidEntries,
      bytes: bytes + records.length,
    };
    if (this.#passes === 0) this.#named += added.validEntries + added.invalidEntries;
    return added;
  }

  /** @throws what the constructor was given, for a first pass that does not name every entry */
  endPass(): PassCounts {
    const named = this.#named;
    const entries = entryCount(this.order);
    if (this.#passes === 0 && named !== entries) {
      const found = `the first pass named ${named} of the table's ${entries} entries`;
      throw this.#incomplete(found, named, this.order);
    }
    this.#passes++;
    return this.#counts;
  }

  /** Takes the records that are left of the cursor's chunk, and counts them. */
  protected take(cursor: RecordCursor): Readonly<RecordCounts> {
    const counts: RecordCounts = { records: 0, validEntries: 0, invalidEntries: 0 };
    while (cursor.next()) {
      counts.records++;
      counts.validEntries += cursor.validCount;
      counts.invalidEntries += cursor.invalidCount;
    }
    return counts;
  }
}
