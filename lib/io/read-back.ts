import { HtabError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import { sameHpte } from '../hpt/hpte.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian } from '../hpt/wire.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { HptReader } from './reader.js';

/**
 * Reads a whole table and compares it with the one it should be. Nothing is kept of what is read, so a second table
 * need not fit the memory.
 *
 * @param source a VM, or a read descriptor that has not been read from, which is closed
 * @throws HtabError `ERR_HTAB_VERIFY` naming the first entry that differs
 * @throws HtabStateError, HtabSystemError as {@link HptReader}
 * @throws the signal's reason
 */
export async function checkAgainst(
  expected: HptTable,
  source: HtabVm | HtabHandle,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { order } = expected;
  const reader = 'openHtab' in source ? await HptReader.open(source) : new HptReader(source, { order });
  const cursor = new RecordCursor({ order, ascending: true });
  let validEntries = 0;
  let entries = 0;
  try {
    for await (const records of reader.pass({ signal })) {
      cursor.push(records);
      while (cursor.next()) {
        validEntries += cursor.validCount;
        entries += cursor.validCount + cursor.invalidCount;
        const ptex = firstDifference(expected, cursor);
        if (ptex !== undefined) throw differs(expected, ptex);
      }
    }
    cursor.finish();
  } finally {
    await reader.close();
  }
  if (entries !== expected.entryCount) {
    throw new HtabError(
      'ERR_HTAB_VERIFY',
      `reading the table back gave ${entries} of its ${expected.entryCount} entries`,
    );
  }
  // All that was read is right; what is missing was not read as valid.
  if (validEntries !== expected.validCount) {
    throw new HtabError(
      'ERR_HTAB_VERIFY',
      `${expected.validCount - validEntries} of ${expected.validCount} entries are not in the target's table`,
    );
  }
}

/** @internal The first valid entry of the cursor's record that is not as expected. */
export function firstDifference(expected: HptTable, cursor: RecordCursor): number | undefined {
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

/** @internal What to say of an entry that is not as expected. */
export function differs(expected: HptTable, ptex: number): HtabError {
  const entry = expected.get(ptex);
  const due = entry === undefined ? 'invalid' : `v=${entry.v.toString(16)} r=${entry.r.toString(16)}`;
  return new HtabError(
    'ERR_HTAB_VERIFY',
    `entry ${ptex} should be ${due}, and the target's table has it otherwise`,
  );
}
