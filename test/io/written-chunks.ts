import type { Writable } from 'node:stream';
import type { Pair } from './wire-records.js';

export const PAGE_4K: Pair = [0x11n, 0x190n];
export const PAGE_16M: Pair = [0x15n, 0x9000_0190n];

/**
 * Writes the chunks and ends the stream; rejects with its error.
 *
 * @param apart write each chunk when the one before it is written, not in one go
 */
export async function writeAll(
  stream: Writable,
  chunks: readonly Uint8Array[],
  apart = false,
): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    stream.once('error', reject);
    stream.once('close', resolve);
  });
  for (const chunk of chunks) {
    const written = new Promise((resolve) => stream.write(chunk, resolve));
    if (apart) await Promise.race([written, done]);
  }
  stream.end();
  await done;
}

export async function failureOf(
  stream: Writable,
  chunks: readonly Uint8Array[],
  apart = false,
): Promise<unknown> {
  return writeAll(stream, chunks, apart).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Cuts bytes at the given places. */
export function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % bytes.length).sort((a, b) => a - b), bytes.length];
  return ends.map((end, k) => bytes.subarray(k === 0 ? 0 : ends[k - 1], end));
}
