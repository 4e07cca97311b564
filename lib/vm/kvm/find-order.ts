import { HtabStateError } from '../../base/errors.js';
import { noTableError } from '../../base/no-table.js';
import { MAX_STREAM_ORDER, MIN_ORDER, entryCount } from '../../hpt/geometry.js';
import { RecordCursor } from '../../records/cursor.js';
import type { HtabHandle } from '../contract.js';

const BUFFER_BYTES = 1 << 20;
/** A read that leaves more than this free has come to the end of the table (kernel-abi.md 2.3). */
const HEADER_AND_HPTE = 24;

/**
 * The order of a table, by one first pass to its end.
 *
 * @param handle a fresh read descriptor; it has been read after this
 * @throws HtabUnavailableError `no-table` where it gives nothing
 * @throws HtabStateError `lost` where the pass does not end where a table does
 */
export async function findOrder(handle: HtabHandle, signal: AbortSignal | undefined): Promise<number> {
  const end = await endOfFirstPass(handle, signal);
  if (end === 0) throw noTableError();
  for (let order = MIN_ORDER; order <= MAX_STREAM_ORDER; order++) if (entryCount(order) === end) return order;
  throw new HtabStateError(
    'lost',
    `the first pass ends at entry ${end}, where no table ends: it was replaced during the pass; begin again`,
  );
}

async function endOfFirstPass(handle: HtabHandle, signal: AbortSignal | undefined): Promise<number> {
  const cursor = new RecordCursor();
  let end = 0;
  for (;;) {
    signal?.throwIfAborted();
    const buffer = new Uint8Array(BUFFER_BYTES);
    const length = await handle.read(buffer);
    cursor.push(buffer.subarray(0, length));
    while (cursor.next()) {
      // The pass ended exactly where the buffer did, and this is the next one.
      if (cursor.index < end) return end;
      end = cursor.index + cursor.validCount + cursor.invalidCount;
    }
    if (length + HEADER_AND_HPTE < buffer.length) return end;
  }
}
