import { checkOptions, invalidValue } from '../arguments.js';
import { HtabStateError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import { foldRecords } from '../format/fold.js';
import { HptTable } from '../hpt/table.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { HptReader } from './reader.js';
import { streamOrder } from './stream-order.js';
import { checkVmOrHandle, isVm } from './vm-or-handle.js';

/** What reading a table takes. */
export interface ReadTableOptions {
  /** log2 of the table's bytes, 18..36; needed where the source does not know it, as a descriptor never does. */
  readonly order?: number | undefined;
  /** Ends it with its reason, after the read in flight. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a whole table, in one pass. Of a guest that runs meanwhile it is a mixture of moments; {@link saveSnapshot} and
 * {@link HptReader} can do better.
 *
 * @param source a VM, or a read descriptor that has not been read from, which is closed
 * @throws TypeError without the table's order, and for a source or options that cannot be
 * @throws HtabStateError `lost` if the pass does not give the whole table; and as {@link HptReader}
 * @throws HtabSystemError, HtabUnavailableError, HtabFormatError as {@link HptReader}
 * @throws the signal's reason
 */
export async function readTable(
  source: HtabVm | HtabHandle,
  options: ReadTableOptions = {},
): Promise<HptTable> {
  checkVmOrHandle('source', source);
  try {
    checkOptions(options);
    const { order: given, signal } = options;
    const order = isVm(source) ? streamOrder(source, given) : given;
    if (order === undefined) {
      throw invalidValue('The "order" option is needed: the source does not tell its table\'s order');
    }
    await using reader = isVm(source)
      ? await HptReader.open(source, { order, signal })
      : new HptReader(source, { order });
    return await read(reader, order, signal);
  } finally {
    if (!isVm(source)) await source.close();
  }
}

async function read(reader: HptReader, order: number, signal: AbortSignal | undefined): Promise<HptTable> {
  const table = new HptTable(order);
  const cursor = new RecordCursor({ order, ascending: true });
  let named = 0;
  for await (const records of reader.pass({ signal })) {
    cursor.push(records);
    const { validEntries, invalidEntries } = foldRecords(cursor, table);
    named += validEntries + invalidEntries;
  }
  cursor.finish();
  if (named === table.entryCount) return table;
  throw new HtabStateError(
    'lost',
    `the pass gave ${named} of the table's ${table.entryCount} entries: the descriptor had been read before, the order is ` +
      'another, or the guest uses radix',
  );
}
