import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { checkPath, hasMethod } from '../base/arguments.js';
import { HtabFormatError } from '../base/errors.js';
import type { OptionTable } from '../base/options.js';
import { FRAME_HEADER_BYTES } from '../frames/frame.js';
import { type Snapshot, SnapshotDecoder } from './decoder.js';
import { checkOptions } from '../base/options.js';
import { systemCall } from '../base/system-call.js';
import { MAX_RECORDS_BYTES } from './layout.js';
import { StreamSource } from './stream.js';

/** How far reading has come. */
export interface ReadSnapshotProgress {
  /** Bytes of the file. */
  readonly bytes: number;
  /** Valid entries of the table so far. */
  readonly validEntries: number;
}

export interface ReadSnapshotOptions {
  /** Ends it with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every frame of records. */
  readonly onProgress?: ((progress: ReadSnapshotProgress) => void) | undefined;
}

export const READ_SNAPSHOT_OPTIONS = {
  signal: { doc: 'ends it with its reason' },
  onProgress: { doc: 'called after every frame of records' },
} as const satisfies OptionTable<ReadSnapshotOptions>;

/**
 * Reads the table in a snapshot, and verifies all of the file: each frame's CRC and place, each record, the counts of
 * each pass, and the digest at its end.
 *
 * Memory: the table, which is never more than 2^order bytes and some, and 1 MiB.
 *
 * @param path of the file; or a stream of its bytes, which must end after it
 * @throws HtabFormatError for a file that is not a whole snapshot, with the byte in the file and the record
 * @throws HtabSystemError for a file that cannot be read
 * @throws the signal's reason
 *
 * @example
 * const { info, table } = await readSnapshot('guest.hpt');
 */
export async function readSnapshot(
  path: string | AsyncIterable<Uint8Array>,
  options: ReadSnapshotOptions = {},
): Promise<Snapshot> {
  if (!isIterable(path)) checkPath('path', path);
  checkOptions(options, READ_SNAPSHOT_OPTIONS);
  const { signal } = options;
  signal?.throwIfAborted();
  if (isIterable(path)) {
    const stream = new StreamSource(path, signal);
    return decode('the stream', (buffer) => stream.fill(buffer), options);
  }
  const operation = `read the snapshot ${path}`;
  // Without O_NONBLOCK, opening a FIFO would wait for a writer, and hold a thread of the pool.
  const file = await systemCall(operation, open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  try {
    if (!(await systemCall(operation, file.stat())).isFile()) {
      throw new HtabFormatError(`${path} is not a regular file; give the path of a snapshot`, {
        ...{ byteOffset: 0, recordIndex: 0, place: '' },
      });
    }
    return await decode(path, (buffer) => fill(file, buffer, operation), options);
  } finally {
    await file.close();
  }
}

function isIterable(source: unknown): source is AsyncIterable<Uint8Array> {
  return hasMethod(source, Symbol.asyncIterator);
}

/**
 * @param name of the file or stream, for errors
 * @param read fills a buffer unless the snapshot ends before; gives how many bytes there were
 */
async function decode(
  name: string,
  read: (buffer: Uint8Array) => Promise<number>,
  { signal, onProgress }: ReadSnapshotOptions,
): Promise<Snapshot> {
  const decoder = new SnapshotDecoder(name);
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  const payload = new Uint8Array(MAX_RECORDS_BYTES);
  for (;;) {
    signal?.throwIfAborted();
    const begun = await read(header);
    if (begun === 0) return decoder.finish();
    if (begun < header.length) throw decoder.cutShort(begun);
    const wanted = payload.subarray(0, decoder.openFrame(header));
    const got = await read(wanted);
    if (got < wanted.length) throw decoder.cutShort(FRAME_HEADER_BYTES + got);
    decoder.closeFrame(wanted);
    onProgress?.(decoder.progress);
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
