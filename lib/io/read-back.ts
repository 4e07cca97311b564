import { HtabError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import { sameHpte } from '../hpt/hpte.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian } from '../hpt/wire.js';
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
   * @throws HtabStateError, HtabSystemError as {@link HptReader}
   * @throws the signal's reason
   */
  async check(signal?: AbortSignal): Promise<void> {
    const { order, entryCount } = this.#expected;
    const cursor = new RecordCursor({ order, ascending: true });
    let named = 0;
    for await (const records of this.#reader.pass({ signal })) {
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Reads a whole table and compares it with the one it should be.
 *
 * @param source a VM, or a read descriptor that has not been read from, which is closed
 * @throws as {@link ReadBack.check}
 */
export async function checkAgainst(
  expected: HptTable,
  source: HtabVm | HtabHandle,
  signal?: AbortSignal,
): Promise<void> {
  const { order } = expected;
  const reader = isVm(source) ? await HptReader.open(source) : new HptReader(source, { order });
  await using readBack = new ReadBack(reader, expected);
  await readBack.check(signal);
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
  if (ptex === undefined) return;
  const entry = expected.get(ptex);
  const due = entry === undefined ? 'invalid' : `v=${entry.v.toString(16)} r=${entry.r.toString(16)}`;
  throw new HtabError(
    'ERR_HTAB_VERIFY',
    `entry ${ptex} should be ${due}, and the target's table has it otherwise`,
  );
}

/** The first valid entry of the cursor's record that is not as expected. */
function firstDifference(expected: HptTable, cursor: RecordCursor): number | undefined {
  const { index, validCount, words, wordOffset } = cursor;
  const entry = new Uint32Array(4);
  for (let k = 0; k < validCount; k++) {
    const at = wordOffset + k * 4;
    const same =
      expected.load(index + k, entry) &&
      sameHpte(
        entry,
        swapBigEndian(words[at]!),
        swapBigEndian(words[at + 1]!),
        swapBigEndian(words[at + 2]!),
        swapBigEndian(words[at + 3]!),
      );
    if (!same) return index + k;
  }
  return undefined;
}
