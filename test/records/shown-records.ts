import { HtabFormatError } from '../../lib/base/errors.js';
import { RecordCursor, type RecordCursorOptions } from '../../lib/records/cursor.js';

interface Shown {
  readonly record: number;
  readonly index: number;
  readonly valid: string;
  readonly invalid: number;
  readonly at: number;
  readonly complete: boolean;
}

export function show(cursor: RecordCursor): Shown {
  const { recordIndex, index, validCount, invalidCount, bytes, byteOffset, streamOffset, complete } = cursor;
  const valid = Buffer.from(bytes.subarray(byteOffset, byteOffset + validCount * 16)).toString('hex');
  return { record: recordIndex, index, valid, invalid: invalidCount, at: streamOffset, complete };
}

/** All that a cursor shows of these chunks, up to the stream's end. */
export function walk(chunks: readonly Uint8Array[], options?: RecordCursorOptions): Shown[] {
  const cursor = new RecordCursor(options);
  const shown: Shown[] = [];
  for (const chunk of chunks) {
    cursor.push(chunk);
    while (cursor.next()) shown.push(show(cursor));
  }
  cursor.finish();
  return shown;
}

/** The error these chunks end in. */
export function failure(chunks: readonly Uint8Array[], options?: RecordCursorOptions): HtabFormatError {
  try {
    walk(chunks, options);
  } catch (error) {
    if (error instanceof HtabFormatError) return error;
    throw error;
  }
  throw new Error('the stream is taken as right');
}

export const hex = (hptes: readonly Buffer[]): string => Buffer.concat(hptes).toString('hex');
