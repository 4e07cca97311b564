import { RecordCursor } from '../records/cursor.js';
import { PassCounter } from '../records/pass-counter.js';
import { entryCount } from '../hpt/geometry.js';
import { differenceIn } from '../hpt/record-difference.js';
import type { HptTable } from '../hpt/table.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { lookAt, lookThrough, openerOf, type OpenFresh } from './fresh-look.js';
import { noTableError } from '../base/no-table.js';
import { incompletePassError, replacedTableError } from './other-table.js';
import { HptReader } from './reader.js';
import { samplePoints } from './sample-points.js';
import { stretchesOf } from './stretches.js';
import { isVm } from './vm-or-handle.js';

/** How a table is rechecked. */
export interface RecheckOptions {
  /** Compare every entry: a full scan. Default false: a sample. */
  readonly whole?: boolean | undefined;
  /** Ends it with its reason, after the read in flight. */
  readonly signal?: AbortSignal | undefined;
}

/** Parts of the table, by valid entries, of which each gives one or two looks. */
const STRATA = 24;
/** To open, read and close a descriptor takes as long as reading so many entries of a table that is a quarter full. */
const READ_ON_ENTRIES = 1 << 14;

/**
 * Decides whether a stopped guest's table still is the one that was read. An open descriptor does not show it: of a radix
 * guest, and of a table that was replaced, it reads 0 bytes like one of a quiet table (kernel-abi.md 2.3, 5.1, 5.3). So
 * fresh descriptors must name a table, of this order, and a sample of it must agree with what was read: its last entry, and
 * in each of 24 parts with equally many valid entries one of them, and one that is not bolted, which a reset and a resize
 * both drop. At most 49 descriptors are opened: one is read on to the next of these entries where that is near.
 *
 * Where the descriptors cannot begin in mid-table, the whole table is read.
 *
 * Reading takes marks of change away: call it after the last pass, while the guest stands still.
 *
 * @param known what was read
 * @param source the VM, or what opens descriptors of its table
 * @throws HtabUnavailableError `no-table` if the guest has none
 * @throws HtabStateError `order-changed` if the table has another order, `replaced` naming an entry that is not as it was read
 * @throws HtabSystemError, HtabFormatError as {@link HptReader}
 * @throws the signal's reason
 */
export async function recheckTable(
  known: HptTable,
  source: HtabVm | OpenFresh,
  { whole = false, signal }: RecheckOptions = {},
): Promise<void> {
  const { order } = known;
  const open = openerOf(source, order);
  const compare = (records: Uint8Array): void => {
    const cursor = new RecordCursor({ order, ascending: true });
    cursor.push(records);
    while (cursor.next()) {
      const ptex = differenceIn(known, cursor);
      if (ptex !== undefined) throw replacedTableError(ptex);
    }
  };
  // To open a descriptor of an image is to scan all of it.
  let inParts = !whole && !(isVm(source) && source.backend === 'image');
  if (inParts) {
    const { readOnEntries = READ_ON_ENTRIES } = open;
    // The last entry comes first: all others say less of a table of another order.
    const last = stretchesOf(known, [known.entryCount - 1], 0);
    for (const stretch of [...last, ...stretchesOf(known, samplePoints(known, STRATA), readOnEntries)]) {
      signal?.throwIfAborted();
      inParts = await lookThrough(order, stretch, open, { take: compare, signal });
      if (!inParts) break;
    }
  }
  if (!inParts) await compareWhole(known, await open(0), signal);
}

/**
 * Makes sure that the guest has a table, and that it is of this order; looks at no entry. A descriptor that cannot begin at
 * the table's end shows only that there is one.
 *
 * @throws as {@link recheckTable}
 */
export async function checkNamed(order: number, source: HtabVm | OpenFresh): Promise<void> {
  await lookAt(order, entryCount(order) - 1, openerOf(source, order));
}

async function compareWhole(
  known: HptTable,
  handle: HtabHandle,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { order } = known;
  await using reader = new HptReader(handle, { order });
  // Of a table of another order all entries can differ: the other order says more.
  const counter = new PassCounter(order, (found, named) =>
    named === 0 ? noTableError() : incompletePassError(found, named, order),
  );
  let different: number | undefined;
  const check = (record: RecordCursor): void => {
    different ??= differenceIn(known, record);
  };
  counter.beginPass(new RecordCursor({ order, ascending: true, check }));
  for await (const records of reader.pass({ signal })) counter.add(records);
  counter.endPass();
  if (different !== undefined) throw replacedTableError(different);
}
