import type { RecordCursor } from '../records/cursor.js';
import { HEADER_BYTES } from '../records/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { copyHptes } from '../hpt/copy-hptes.js';
import { swapLittleEndian } from '../hpt/byte-order.js';

/** Holds the longest record, 8 + 65535 * 16 bytes, and is filled with tens of thousands of the shortest. */
export const BATCH_BYTES = 1 << 20;

/**
 * Records on their way to one `writeRecords` call, framed as the kernel wants them: whole, with headers in host order.
 *
 * A record that came in parts (see {@link RecordCursor}) is here as several, each with a header of its own; places in
 * the batch are given in terms of the stream they came from.
 */
export class RecordBatch {
  readonly #words = new Uint32Array(BATCH_BYTES / 4);
  readonly #longs = new BigUint64Array(this.#words.buffer);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  #length = 0;
  #records = 0;
  #ended = 0;
  /** Number in the stream of the batch's first record. */
  #firstRecord = 0;
  /** Offsets in the batch of records that continue one begun before: their headers are not in the stream. */
  readonly #continued: number[] = [];
  #lastRecord = -1;

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Bytes of the stream that the batch stands for. */
  get streamBytes(): number {
    return this.streamBytesBefore(this.#length);
  }

  /** Records of the stream that end in the batch. */
  get recordsEnded(): number {
    return this.#ended;
  }

  /** @returns false, with nothing done, if there is no room for the cursor's record */
  append(cursor: RecordCursor): boolean {
    const bytes = HEADER_BYTES + cursor.validCount * HPTE_BYTES;
    if (this.#length + bytes > BATCH_BYTES) return false;
    if (this.#records === 0) this.#firstRecord = cursor.recordIndex;
    if (cursor.recordIndex === this.#lastRecord) this.#continued.push(this.#length);
    this.#lastRecord = cursor.recordIndex;
    const word = this.#length >>> 2;
    this.#words[word] = swapLittleEndian(cursor.index);
    this.#words[word + 1] = swapLittleEndian(cursor.validCount | (cursor.invalidCount << 16));
    copyHptes(cursor.longs, cursor.wordOffset >>> 1, this.#longs, (word >>> 1) + 1, cursor.validCount);
    this.#length += bytes;
    this.#records++;
    if (cursor.complete) this.#ended++;
    return true;
  }

  clear(): void {
    this.#length = 0;
    this.#records = 0;
    this.#ended = 0;
    this.#continued.length = 0;
  }

  /** Bytes of the stream that the batch's bytes before `offset` stand for. */
  streamBytesBefore(offset: number): number {
    return offset - HEADER_BYTES * this.#continued.filter((place) => place < offset).length;
  }

  /** Number in the stream of the batch's record number `record`, which begins at `offset`. */
  streamRecord(record: number, offset: number): number {
    return (
      this.#firstRecord + record - this.#continued.filter((place) => place > 0 && place <= offset).length
    );
  }
}
