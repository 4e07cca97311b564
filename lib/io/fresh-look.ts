import { entryCount } from '../hpt/geometry.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { chunkExtent } from './chunk.js';
import { noTableError } from '../base/no-table.js';
import { orderChangedError } from './other-table.js';
import { isVm } from './vm-or-handle.js';

/**
 * Opens a fresh read descriptor of a guest's table, whose first pass begins at this ptex. One that cannot choose may begin
 * at 0.
 */
export type OpenFresh = (startIndex: number) => Promise<HtabHandle>;

/** Three entries and what stands empty beyond: a read of this size walks over at most 200,000 entries (kernel-abi.md 2.3). */
const LOOK_BYTES = 64;
/** What a fresh descriptor gives first. */
export interface FreshLook {
  /** ptex of the first record; not the one asked for if the descriptor does not begin there. */
  readonly first: number;
  readonly records: Uint8Array;
}

/** @throws HtabStateError `order-changed` if the VM knows that its table is another */
export function openerOf(source: HtabVm | OpenFresh, order: number): OpenFresh {
  if (!isVm(source)) return source;
  const { hptOrder = order } = source;
  if (hptOrder !== order) throw orderChangedError(order, `the VM's table has order ${hptOrder}`);
  return (startIndex) => source.openHtab({ startIndex });
}

/**
 * Reads a few entries through a fresh descriptor. That takes their marks of change away from every other reader.
 *
 * @throws HtabUnavailableError `no-table` if the guest has none
 * @throws HtabStateError `order-changed` if the table does not end where one of this order does
 */
export async function lookAt(order: number, ptex: number, open: OpenFresh): Promise<FreshLook> {
  const records = await readFresh(ptex, open);
  if (records.length === 0) {
    // Beyond its end a table gives nothing either.
    if (ptex === 0 || (await readFresh(0, open)).length === 0) throw noTableError();
    throw orderChangedError(order, `it has no entry ${ptex}`);
  }
  const { first, end } = chunkExtent(records, records.length);
  if (first === ptex && end > entryCount(order)) {
    throw orderChangedError(order, `it has an entry ${end - 1}`);
  }
  return { first, records };
}

async function readFresh(startIndex: number, open: OpenFresh): Promise<Uint8Array> {
  const handle = await open(startIndex);
  try {
    const buffer = new Uint8Array(LOOK_BYTES);
    return buffer.subarray(0, await handle.read(buffer));
  } finally {
    await handle.close();
  }
}
