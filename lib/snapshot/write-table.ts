import type { Writable } from 'node:stream';
import { fillRecords, type PassState } from '../records/fill-records.js';
import type { HptTable } from '../hpt/table.js';
import { MAX_RECORDS_BYTES, type SnapshotInfo } from './layout.js';
import { openSink, type OpenSink } from './sink.js';
import { SnapshotWriter } from './writer.js';

/**
 * Saves a table that is in memory, and that nothing changes, as a snapshot.
 *
 * @param path of the file, which appears once it is complete; or a stream
 * @throws HtabSystemError if it cannot be written
 * @throws the signal's reason
 */
export async function writeTable(
  table: HptTable,
  path: string | Writable,
  signal: AbortSignal | undefined,
): Promise<SnapshotInfo> {
  return writeTableTo(await openSink(path, signal), table, signal);
}

/** Saves a table as {@link writeTable}, to a place that is open already; it is closed, whatever comes of it. */
export async function writeTableTo(
  file: OpenSink,
  table: HptTable,
  signal: AbortSignal | undefined,
): Promise<SnapshotInfo> {
  try {
    const { order } = table;
    const writer = new SnapshotWriter(file, { order, headerByteOrder: 'LE', backend: 'image', host: null });
    await writer.begin();
    const state: PassState = { cursor: 0, firstPass: true, boltedOnly: false };
    const buffer = new Uint8Array(MAX_RECORDS_BYTES);
    while (state.firstPass) {
      signal?.throwIfAborted();
      await writer.add(buffer.subarray(0, fillRecords(table, state, buffer)));
    }
    await writer.endPass();
    // The pass that found no change: the table is one moment's.
    await writer.endPass();
    const info = await writer.end(true);
    await file.commit();
    return info;
  } finally {
    await file.discard();
  }
}
