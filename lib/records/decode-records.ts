import { invalidTypeError } from '../base/arguments.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { RecordCursor, type RecordCursorOptions } from './cursor.js';
import type { RecordHeader } from './header.js';

/** One record of a stream, with a copy of its HPTEs. */
export interface HtabRecord extends RecordHeader {
  /**
   * The HPTEs of the valid entries, 16 bytes each, big-endian: `hptes.readBigUInt64BE(16 * k)` is v of entry
   * `index` + k, and r follows 8 bytes later.
   */
  readonly hptes: Buffer;
}

/**
 * The records of a stream as objects, whole however the chunks are cut, for looking at a table. Copies and objects make
 * this many times slower than a {@link RecordCursor}, which is what moves tables.
 *
 * @param chunks one chunk, or chunks cut anywhere
 * @throws TypeError for anything else, such as text
 * @throws HtabFormatError with the place, at the first record that is invalid or truncated
 *
 * @example
 * for await (const { index, validCount } of decodeRecords(reader.pass())) console.log(index, validCount);
 */
export function decodeRecords(
  chunks: Uint8Array | Iterable<Uint8Array>,
  options?: RecordCursorOptions,
): Generator<HtabRecord, void, undefined>;
export function decodeRecords(
  chunks: AsyncIterable<Uint8Array>,
  options?: RecordCursorOptions,
): AsyncGenerator<HtabRecord, void, undefined>;
export function decodeRecords(
  chunks: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options?: RecordCursorOptions,
): Generator<HtabRecord, void, undefined> | AsyncGenerator<HtabRecord, void, undefined> {
  const decoder = new RecordDecoder(options);
  if (chunks instanceof Uint8Array) return decodeSync([chunks], decoder);
  checkIterable(chunks);
  return Symbol.asyncIterator in chunks ? decodeAsync(chunks, decoder) : decodeSync(chunks, decoder);
}

function checkIterable(chunks: unknown): void {
  if (typeof chunks === 'object' && chunks !== null) {
    if (Symbol.iterator in chunks || Symbol.asyncIterator in chunks) return;
  }
  throw invalidTypeError('chunks', 'a Uint8Array, or an iterable of them such as reader.pass()', chunks);
}

function* decodeSync(
  chunks: Iterable<Uint8Array>,
  decoder: RecordDecoder,
): Generator<HtabRecord, void, undefined> {
  for (const chunk of chunks) yield* decoder.decode(chunk);
  decoder.finish();
}

async function* decodeAsync(
  chunks: AsyncIterable<Uint8Array>,
  decoder: RecordDecoder,
): AsyncGenerator<HtabRecord, void, undefined> {
  for await (const chunk of chunks) yield* decoder.decode(chunk);
  decoder.finish();
}

/** Makes whole records of what a cursor may show in parts. */
class RecordDecoder {
  readonly #cursor: RecordCursor;
  #index = 0;
  #parts: Buffer[] = [];

  constructor(options: RecordCursorOptions | undefined) {
    this.#cursor = new RecordCursor(options);
  }

  *decode(chunk: Uint8Array): Generator<HtabRecord, void, undefined> {
    const cursor = this.#cursor;
    cursor.push(chunk);
    while (cursor.next()) {
      if (this.#parts.length === 0) this.#index = cursor.index;
      const { byteOffset, validCount } = cursor;
      this.#parts.push(Buffer.from(cursor.bytes.subarray(byteOffset, byteOffset + validCount * HPTE_BYTES)));
      if (!cursor.complete) continue;
      const hptes = Buffer.concat(this.#parts);
      this.#parts = [];
      yield {
        index: this.#index,
        validCount: hptes.length / HPTE_BYTES,
        invalidCount: cursor.invalidCount,
        hptes,
      };
    }
  }

  finish(): void {
    this.#cursor.finish();
  }
}
