import { entryCount } from '../hpt/geometry.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { type ChunkExtent, chunkExtent } from './chunk.js';
import { noTableError } from '../base/no-table.js';
import { orderChangedError, replacedTableError } from './other-table.js';
import { LOOK_BYTES, type Stretch } from './stretches.js';
import { isVm } from './vm-or-handle.js';

/** Opens fresh read descriptors of a guest's table. */
export interface OpenFresh {
  /** @param startIndex ptex at which its first pass begins. One that cannot choose may begin at 0 */
  (startIndex: number): Promise<HtabHandle>;
  /**
   * Entries that are rather read than another descriptor opened, 0 or more; default 16,384. More where opening is dear,
   * as where it stops a thread of the VMM.
   */
  readonly readOnEntries?: number | undefined;
}

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
  if (records.length === 0) throw await missingError(order, ptex, open);
  const { first } = extentOf(order, ptex, records);
  return { first, records };
}

/**
 * Looks at all entries of a stretch, through one descriptor.
 *
 * @param take gets what each read gives, at once
 * @returns false if the descriptor does not begin where the stretch does
 * @throws HtabStateError `replaced` where a read gives changes, or nothing, and no longer the first pass of this table
 * @throws as {@link lookAt}; what `take` throws; the signal's reason
 */
export async function lookThrough(
  order: number,
  { from, to, bufferBytes }: Stretch,
  open: OpenFresh,
  { take, signal }: { take: (records: Uint8Array) => void; signal: AbortSignal | undefined },
): Promise<boolean> {
  const handle = await open(from);
  try {
    const buffer = new Uint8Array(bufferBytes);
    for (let at = from; at <= to;) {
      signal?.throwIfAborted();
      const records = buffer.subarray(0, await handle.read(buffer));
      if (records.length === 0) throw await missingError(order, at, open);
      const { first, end } = extentOf(order, at, records);
      if (first !== at && at === from) return false;
      if (first !== at) throw replacedTableError(at);
      take(records);
      at = end;
    }
    return true;
  } finally {
    await handle.close();
  }
}

/** @throws HtabStateError `order-changed` if records from `ptex` on go beyond the table's end */
function extentOf(order: number, ptex: number, records: Uint8Array): ChunkExtent {
  const extent = chunkExtent(records, records.length);
  if (extent.first === ptex && extent.end > entryCount(order)) {
    throw orderChangedError(order, `it has an entry ${extent.end - 1}`);
  }
  return extent;
}

/** Why a read at `ptex` gave nothing. */
async function missingError(order: number, ptex: number, open: OpenFresh): Promise<Error> {
  // Beyond its end a table gives nothing either.
  if (ptex === 0 || (await readFresh(0, open)).length === 0) return noTableError();
  return orderChangedError(order, `it has no entry ${ptex}`);
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
