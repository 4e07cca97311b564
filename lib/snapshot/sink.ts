import type { Writable } from 'node:stream';
import { AtomicFile } from './atomic-file.js';
import { StreamSink, isWritable } from './stream.js';

/** Where a snapshot goes. */
export type OpenSink = AtomicFile | StreamSink;

/**
 * Opens the place of a snapshot: a file, which appears once it is complete, or a stream.
 *
 * @throws HtabSystemError if it cannot be written; TypeError if something else than a file has this name
 */
export async function openSink(path: string | Writable, signal: AbortSignal | undefined): Promise<OpenSink> {
  return isWritable(path) ? new StreamSink(path, signal) : AtomicFile.create(path, signal);
}
