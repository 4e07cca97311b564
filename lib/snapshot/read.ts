import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { checkOptions, checkPath } from '../arguments.js';
import { HtabFormatError } from '../errors.js';
import { FRAME_HEADER_BYTES } from '../framing/frame.js';
import { type Snapshot, SnapshotDecoder } from './decoder.js';
import { systemCall } from '../node/system-call.js';
import { MAX_RECORDS_BYTES } from './layout.js';

/**
 * Reads the table in a snapshot, and verifies all of the file: each frame's CRC and place, each record, the counts of
 * each pass, and that all of them come to the digest at its end.
 *
 * Memory: the table, which is never more than 2^order bytes and some, and 1 MiB.
 *
 * @throws HtabFormatError for a file that is no whole snapshot, with the byte in the file and the record
 * @throws HtabSystemError for a file that cannot be read
 * @throws the signal's reason
 */
export async function readSnapshot(
  path: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Snapshot> {
  checkPath('path', path);
  checkOptions(options);
  const { signal } = options;
  signal?.throwIfAborted();
  const operation = `read the snapshot ${path}`;
  // Without O_NONBLOCK, opening a FIFO would wait for a writer, and hold a thread of the pool.
  const file = await systemCall(operation, open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  try {
    if (!(await systemCall(operation, file.stat())).isFile()) {
      throw new HtabFormatError(`${path} is not a regular file`, { byteOffset: 0, recordIndex: 0 });
    }
    return await decode(file, operation, signal);
  } finally {
    await file.close();
  }
}

async function decode(
  file: FileHandle,
  operation: string,
  signal: AbortSignal | undefined,
): Promise<Snapshot> {
  const decoder = new SnapshotDecoder();
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  const payload = new Uint8Array(MAX_RECORDS_BYTES);
  for (;;) {
    signal?.throwIfAborted();
    const begun = await fill(file, header, operation);
    if (begun === 0) return decoder.finish();
    if (begun < header.length) throw decoder.cutShort(begun);
    const wanted = payload.subarray(0, decoder.openFrame(header));
    const got = await fill(file, wanted, operation);
    if (got < wanted.length) throw decoder.cutShort(FRAME_HEADER_BYTES + got);
    decoder.closeFrame(wanted);
  }
}

/** Reads until the buffer is full or the file ends; returns how many bytes there were. */
async function fill(file: FileHandle, buffer: Uint8Array, operation: string): Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await systemCall(operation, file.read(buffer, filled, buffer.length - filled));
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}
