import { readFileSync } from 'node:fs';
import path from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const folder = path.resolve(import.meta.dirname, '../fixtures/qemu');

/** What another parser found in a stream. */
export interface Expected {
  readonly machine: string;
  /** Null for a guest without a table. */
  readonly order: number | null;
  readonly validEntries: number;
  readonly streamBytes: number;
  /** Of the table as flat memory. */
  readonly imageSha256: string;
  readonly parts: readonly (readonly [
    type: string,
    bytes: number,
    records: number,
    valid: number,
    invalid: number,
  ])[];
}

/** By the name of the stream. */
export const expected = JSON.parse(readFileSync(path.join(folder, 'expected.json'), 'utf8')) as Readonly<
  Record<string, Expected>
>;

const read = new Map<string, Buffer>();

/** A stream that QEMU wrote. */
export function fixture(name: string): Buffer {
  let stream = read.get(name);
  if (stream === undefined) {
    stream = brotliDecompressSync(readFileSync(path.join(folder, `${name}.mig.br`)));
    read.set(name, stream);
  }
  return stream;
}

/** A stream in chunks of some length. */
export async function* chunked(stream: Uint8Array, chunkBytes = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < stream.length; at += chunkBytes) {
    yield await Promise.resolve(stream.subarray(at, at + chunkBytes));
  }
}
