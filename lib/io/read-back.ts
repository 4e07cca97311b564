import { HtabError } from '../base/errors.js';
import { RecordCursor } from '../records/cursor.js';
import { PassCounter } from '../records/pass-counter.js';
import { differenceIn } from '../hpt/record-difference.js';
import type { HptTable } from '../hpt/table.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { HptReader } from './reader.js';
import { isVm } from './vm-or-handle.js';

/**
 * Reads back what was written to a table, and compares it with what should be there. Nothing is kept of what is read, so
 * a second table need not fit the memory.
 *
 * If the reader was opened before the first write, each check after the first reads only what was written since
 * (kernel-abi.md 4.6): what has to be compared while a guest stands still is what changed last.
 */
export class ReadBack implements AsyncDisposable {
  readonly #reader: HptReader;
  readonly #expected: HptTable;
  readonly #counter: PassCounter;

  /** @param expected is looked at while a check is made, and must not change then */
  constructor(reader: HptReader, expected: HptTable) {
    this.#reader = reader;
    this.#expected = expected;
    this.#counter = new PassCounter(
      expected.order,
      (found) => new HtabError('ERR_HTAB_VERIFY', `reading the table back failed: ${found}`),
    );
  }

  /**
   * Compares everything, the first time; then what was written since.
   *
   * @throws HtabError `ERR_HTAB_VERIFY` naming the first entry that differs
   * @throws HtabStateError, HtabSystemError as {@link HptReader}
   * @throws the signal's reason
   */
  async check(signal?: AbortSignal): Promise<void> {
    const expected = this.#expected;
    const check = (record: RecordCursor): void => {
      compareRecord(expected, record);
    };
    this.#counter.beginPass(new RecordCursor({ order: expected.order, ascending: true, check }));
    for await (const records of this.#reader.pass({ signal })) this.#counter.add(records);
    this.#counter.endPass();
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Reads a whole table and compares it with the one it should be.
 *
 * @param source a VM whose table the caller has claimed, or a read descriptor that has not been read from, which is closed
 * @throws as {@link ReadBack.check}
 */
export async function checkAgainst(
  expected: HptTable,
  source: HtabVm | HtabHandle,
  signal?: AbortSignal,
): Promise<void> {
  const { order } = expected;
  const reader = isVm(source) ? await HptReader.openClaimed(source) : new HptReader(source, { order });
  await using readBack = new ReadBack(reader, expected);
  await readBack.check(signal);
}

/** @throws HtabError `ERR_HTAB_VERIFY` naming the first entry of the record that differs */
function compareRecord(expected: HptTable, cursor: RecordCursor): void {
  const ptex = differenceIn(expected, cursor);
  if (ptex === undefined) return;
  const entry = expected.get(ptex);
  const wanted = entry === undefined ? 'invalid' : `v=${entry.v.toString(16)} r=${entry.r.toString(16)}`;
  throw new HtabError(
    'ERR_HTAB_VERIFY',
    `entry ${ptex} should be ${wanted}, but the target's table holds something else`,
  );
}
