import { checkOptions, type OptionTable } from '../base/options.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { TableFold } from '../records/table-fold.js';
import { HptTable } from '../hpt/table.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { incompletePassError } from './other-table.js';
import { HptReader } from './reader.js';
import { checkNamed } from './recheck.js';
import { knownOrder } from './stream-order.js';
import { checkVmOrHandle, isVm } from './vm-or-handle.js';

/** What reading a table takes. */
export interface ReadTableOptions {
  /** log2 of the table's bytes, 18..36; needed where the source does not know it, as a descriptor never does. */
  readonly order?: number | undefined;
  /** Ends it with its reason, after the read in flight. */
  readonly signal?: AbortSignal | undefined;
}

export const READ_TABLE_OPTIONS = {
  order: {
    ...{ min: MIN_ORDER, max: MAX_STREAM_ORDER, unit: 'log2 of bytes' },
    doc: "log2 of the table's bytes; needed where the source does not know it, as a descriptor never does",
  },
  signal: { doc: 'ends it with its reason, after the read in flight' },
} as const satisfies OptionTable<ReadTableOptions>;

/**
 * Reads a whole table, in one pass. Of a guest that runs meanwhile, or is reset, it is a mixture of moments;
 * {@link saveSnapshot} and {@link HptReader} can do better.
 *
 * @param source a VM, or a read descriptor that has not been read from, which is closed
 * @throws TypeError for a descriptor without its table's order, and for an invalid source or option
 * @throws HtabStateError `lost` if the pass does not give the whole table, `order-changed` if it gives that of another
 *   order, or the VM's table has another one after it; and as {@link HptReader}
 * @throws HtabUnavailableError `no-table` if there is none; of a VM also after the pass
 * @throws HtabSystemError, HtabUnavailableError, HtabFormatError as {@link HptReader}
 * @throws the signal's reason
 *
 * @example
 * const { validCount } = await readTable(vm);
 */
export async function readTable(
  source: HtabVm | HtabHandle,
  options: ReadTableOptions = {},
): Promise<HptTable> {
  checkVmOrHandle('source', source);
  try {
    checkOptions(options, { order: true, signal: true });
    const { order: given, signal } = options;
    const order = knownOrder(source, given);
    await using reader = isVm(source)
      ? await HptReader.open(source, { order, signal })
      : new HptReader(source, { order });
    const table = await read(reader, order, signal);
    if (isVm(source)) await checkNamed(order, source);
    return table;
  } finally {
    if (!isVm(source)) await source.close();
  }
}

async function read(reader: HptReader, order: number, signal: AbortSignal | undefined): Promise<HptTable> {
  const fold = new TableFold(new HptTable(order), incompletePassError);
  fold.beginPass();
  for await (const records of reader.pass({ signal })) fold.add(records);
  fold.endPass();
  return fold.table;
}
