import { copyHptes } from '../hpt/copy-hptes.js';
import type { PackedBlock } from '../hpt/packed-block.js';
import { checkLittleEndian } from '../hpt/byte-order.js';

/** HPTEs are moved in doublewords. */
const ALIGNMENT = 8;
/** `counts` while no record is open. */
const CLOSED = -1;
/** Counts of a record with the most invalid entries there can be, and no valid one. */
const EMPTY_RUN = 0xffff << 16;
/** Entries of two such records. */
const EMPTY_PAIR = 2 * 0xffff;
/** Words of a header and an HPTE: what must be free for another record (kernel-abi.md 2.3). */
const RECORD_WORDS = 6;

/**
 * Fills a buffer with records, by the kernel's rules for how long each may be (kernel-abi.md 2.3).
 *
 * Its state is open to the loops of a pass: they write what nearly every record is by themselves, with the state in
 * local variables, and come here for all others. Calls alone would make a pass of a sparse table a seventh slower.
 */
export class RecordWriter {
  readonly #buffer: Uint8Array;
  /** The buffer, or an aligned stand-in for it. */
  readonly #bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly longs: BigUint64Array;
  /** Words that may be used: all but the one with the buffer's last byte. */
  readonly limit: number = 0;
  /** Words written. */
  position = 0;
  /** Word of the open record's header. */
  header = 0;
  /** Its counts, as in the header: valid entries in the low 16 bits, invalid ones in the high. */
  counts = CLOSED;

  /** @throws HtabUnavailableError on a big-endian machine */
  constructor(buffer: Uint8Array) {
    checkLittleEndian('records cannot be written here');
    const bytes = buffer.byteOffset % ALIGNMENT === 0 ? buffer : new Uint8Array(buffer.length);
    this.#buffer = buffer;
    this.#bytes = bytes;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.longs = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 3);
    this.limit = (buffer.length - 1) >>> 2;
  }

  /** Takes back the state that a loop has kept. */
  restore(position: number, header: number, counts: number): void {
    this.position = position;
    this.header = header;
    this.counts = counts;
  }

  /**
   * Ends the open record: the next entry is not reported.
   *
   * @returns false if there is no room for another record, which the kernel finds out before it looks any further
   */
  close(): boolean {
    this.counts = CLOSED;
    return this.position + RECORD_WORDS <= this.limit;
  }

  /**
   * Reports the next `count` entries as invalid.
   *
   * @param index ptex of the first, in 32 bits
   * @returns how many found room
   */
  invalid(index: number, count: number): number {
    const { words, limit } = this;
    let { header, counts, position } = this;
    let done = Math.min(count, 0xffff - (counts >>> 16)) | 0;
    if (done > 0) {
      counts = (counts + (done << 16)) | 0;
      words[header + 1] = counts;
    }
    // A huge empty table is nothing but records of 65535. Two at a time, the last word first, cost V8 one bounds check:
    // 0.6 ns a record where one at a time takes 2.
    const pairs = Math.min(Math.floor((count - done) / EMPTY_PAIR), (limit - position - 4) >> 2);
    if (pairs > 0) {
      const end = (position + (pairs << 2)) | 0;
      for (let at = (index + done) | 0; position < end; position = (position + 4) | 0) {
        words[position + 3] = EMPTY_RUN;
        words[position + 2] = at + 0xffff;
        words[position + 1] = EMPTY_RUN;
        words[position] = at;
        at = (at + EMPTY_PAIR) | 0;
      }
      header = position - 2;
      counts = EMPTY_RUN;
      done += pairs * EMPTY_PAIR;
    }
    while (done < count && position + RECORD_WORDS <= limit) {
      const length = Math.min(count - done, 0xffff) | 0;
      header = position;
      counts = length << 16;
      words[position + 1] = counts;
      words[position] = (index + done) | 0;
      position = (position + 2) | 0;
      done = (done + length) | 0;
    }
    this.header = header;
    this.counts = counts;
    this.position = position;
    return done;
  }

  /**
   * Reports the next `count` entries as valid.
   *
   * @param index ptex of the first, in 32 bits
   * @param packed holds the HPTEs, side by side from `place` on
   * @returns how many found room
   */
  valid(index: number, count: number, packed: PackedBlock, place: number): number {
    let done = 0;
    while (done < count) {
      // A record takes no valid entries after invalid ones.
      if (this.counts >>> 0 >= 0xffff && !this.#begin(index + done)) break;
      const { counts, position } = this;
      const length = Math.min(count - done, 0xffff - counts, (this.limit - position) >>> 2);
      if (length === 0) break;
      copyHptes(packed.longs, (place + done) << 1, this.longs, position >>> 1, length);
      this.counts = counts + length;
      this.words[this.header + 1] = this.counts;
      this.position = position + (length << 2);
      done += length;
    }
    return done;
  }

  /** @returns bytes written */
  finish(): number {
    const length = this.position << 2;
    if (this.#bytes !== this.#buffer) this.#buffer.set(this.#bytes.subarray(0, length));
    return length;
  }

  #begin(index: number): boolean {
    const { position } = this;
    if (position + RECORD_WORDS > this.limit) return false;
    this.header = position;
    this.counts = 0;
    this.words[position] = index;
    this.position = position + 2;
    return true;
  }
}
