import { HtabFormatError, HtabStateError } from '../errors.js';
import { HPTE_BYTES, MAX_STREAM_ORDER, checkOrder, entryCount } from '../hpt/geometry.js';
import { HEADER_BYTES, MAX_STREAM_ENTRIES, type HeaderByteOrder } from './header.js';
import { firstBadHpte, whyBad } from './legality.js';
import { swapBigEndian, swapLittleEndian } from '../hpt/wire.js';

export interface RecordCursorOptions {
  /** Order of the stream's table, 18..36: records beyond its end are refused. Default: all that the index can name. */
  readonly order?: number;
  /** Byte order of record headers. Default `LE`, the host's own. */
  readonly headerByteOrder?: HeaderByteOrder;
  /** The stream is one pass: a record may not begin before the end of the one before it (kernel-abi.md 2.3). */
  readonly ascending?: boolean;
}

const HEADER_WORDS = HEADER_BYTES / 4;
const HPTE_WORDS = HPTE_BYTES / 4;
const NO_BYTES = new Uint8Array(0);
const NO_WORDS = new Uint32Array(0);

/**
 * Walks a stream of records that comes in chunks cut anywhere, and checks what the kernel would before it shows a
 * record: its range, and of every HPTE the V bit, the segment code and the page-size code (kernel-abi.md 4.2, 4.4).
 *
 * ```ts
 * cursor.push(chunk);
 * while (cursor.next()) use(cursor.index, cursor.validCount, cursor.bytes, cursor.byteOffset, cursor.invalidCount);
 * // ... and so on with every chunk, then
 * cursor.finish();
 * ```
 *
 * The cursor itself is the record: each `next()` changes its fields and nothing is allocated. HPTEs stay where they
 * are, in the chunk. A record cut by the end of a chunk is shown in parts, as (index, k, 0) and then
 * (index + k, rest, invalidCount), which means the same; so no more than 23 bytes are kept between chunks.
 */
export class RecordCursor {
  /** The stream may name entries 0 .. `entryLimit - 1`. */
  readonly entryLimit: number;
  /** ptex of the first entry. */
  index = 0;
  /** Valid entries, from `index` on. */
  validCount = 0;
  /** Invalid entries after them. */
  invalidCount = 0;
  /** Number of the record in the stream, counted from 0; the parts of a cut record share it. -1 before the first. */
  recordIndex = -1;
  /** Offset of the record's header in the stream. */
  streamOffset = 0;
  /** Holds the HPTEs of the valid entries from `byteOffset` on, until the next call of `next()` or `push()`. */
  bytes: Uint8Array = NO_BYTES;
  /** The same memory in 32-bit words, as they stand there: four an HPTE, from `wordOffset` on. */
  words: Uint32Array = NO_WORDS;
  wordOffset = 0;

  readonly #bigEndianHeaders: boolean;
  readonly #ascending: boolean;
  /** End of the last record: where the next may begin, in an ascending stream. */
  #reached = 0;

  // The window is the memory being walked: a chunk, an aligned copy of it, or what two chunks hold of one unit.
  #at = 0;
  #end = 0;
  #tailBytes = 0;
  #windowByte = 0;
  #windowStart = 0;
  #rest: Uint8Array | undefined;
  #hungry = true;

  // Of a cut record, what is still to come.
  #owedIndex = 0;
  #owedValid = 0;
  #owedInvalid = 0;

  readonly #carry = new Uint8Array(HEADER_BYTES + HPTE_BYTES);
  readonly #carryWords = new Uint32Array(this.#carry.buffer);
  #carried = 0;
  #scratch = NO_BYTES;

  constructor(options: RecordCursorOptions = {}) {
    if (options.order !== undefined) checkOrder(options.order, MAX_STREAM_ORDER);
    this.entryLimit = options.order === undefined ? MAX_STREAM_ENTRIES : entryCount(options.order);
    this.#bigEndianHeaders = options.headerByteOrder === 'BE';
    this.#ascending = options.ascending ?? false;
  }

  get byteOffset(): number {
    return this.#windowByte + this.wordOffset * 4;
  }

  push(chunk: Uint8Array): void {
    if (!this.#hungry) throw new HtabStateError('busy', 'push() before next() returned false');
    this.#hungry = false;
    let from = 0;
    if (this.#carried > 0) {
      from = this.#fillCarry(chunk);
      if (this.#carried < this.#unitBytes()) return;
      this.#rest = chunk.subarray(from);
      this.bytes = this.#carry;
      this.words = this.#carryWords;
      this.#windowByte = 0;
      this.#end = this.#carried >>> 2;
      this.#carried = 0;
    } else this.#open(chunk);
  }

  next(): boolean {
    for (;;) {
      const head = this.#at;
      const end = this.#end;
      const words = this.words;
      if (this.#owedValid > 0) {
        if (end - head >= HPTE_WORDS) return this.#showPart(head);
      } else if (end - head >= HEADER_WORDS) {
        let index = words[head]!;
        let counts = words[head + 1]!;
        let validCount: number;
        let invalidCount: number;
        if (this.#bigEndianHeaders) {
          index = swapBigEndian(index);
          counts = swapBigEndian(counts);
          validCount = counts >>> 16;
          invalidCount = counts & 0xffff;
        } else {
          index = swapLittleEndian(index);
          counts = swapLittleEndian(counts);
          validCount = counts & 0xffff;
          invalidCount = counts >>> 16;
        }
        const stop = index + validCount + invalidCount;
        if (counts === 0 || stop > this.entryLimit || (this.#ascending && index < this.#reached)) {
          this.#refuseHeader(index, validCount, invalidCount);
        }
        const first = head + HEADER_WORDS;
        const after = first + validCount * HPTE_WORDS;
        if (after <= end) {
          const bad = firstBadHpte(words, first, after);
          if (bad < after) this.#refuseHpte(this.recordIndex + 1, index, first, bad);
          this.#at = after;
          this.#reached = stop;
          this.recordIndex++;
          this.streamOffset = this.#windowStart + head * 4;
          this.wordOffset = first;
          this.index = index;
          this.validCount = validCount;
          this.invalidCount = invalidCount;
          return true;
        }
        if (end - first >= HPTE_WORDS) {
          this.recordIndex++;
          this.streamOffset = this.#windowStart + head * 4;
          this.#reached = stop;
          this.#owedIndex = index;
          this.#owedValid = validCount;
          this.#owedInvalid = invalidCount;
          this.#at = first;
          return this.#showPart(first);
        }
      }
      if (!this.#advance()) return false;
    }
  }

  finish(): void {
    throw new Error('todo');
  }

  #showPart(first: number): boolean {
    const words = this.words;
    const count = Math.min(this.#owedValid, (this.#end - first) >>> 2);
    const after = first + count * HPTE_WORDS;
    const bad = firstBadHpte(words, first, after);
    if (bad < after) this.#refuseHpte(this.recordIndex, this.#owedIndex, first, bad);
    this.#at = after;
    this.wordOffset = first;
    this.index = this.#owedIndex;
    this.validCount = count;
    this.#owedIndex += count;
    this.#owedValid -= count;
    this.invalidCount = this.#owedValid === 0 ? this.#owedInvalid : 0;
    return true;
  }

  #open(chunk: Uint8Array): void {
    this.bytes = chunk;
    this.#windowByte = 0;
    if ((chunk.byteOffset & 3) !== 0) {
      if (this.#scratch.length < chunk.length) this.#scratch = new Uint8Array((chunk.length + 3) & ~3);
      this.#scratch.set(chunk);
      this.bytes = this.#scratch;
    }
    this.words = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, chunk.length >>> 2);
    this.#at = 0;
    this.#end = this.words.length;
    this.#tailBytes = chunk.length & 3;
  }

  #unitBytes(): number {
    if (this.#owedValid > 0) return HPTE_BYTES;
    return 24;
  }

  #fillCarry(chunk: Uint8Array): number {
    const n = Math.min(this.#unitBytes() - this.#carried, chunk.length);
    this.#carry.set(chunk.subarray(0, n), this.#carried);
    this.#carried += n;
    return n;
  }

  #advance(): boolean {
    if (this.#rest !== undefined) {
      this.#windowStart += this.#end * 4;
      this.#open(this.#rest);
      this.#rest = undefined;
      return true;
    }
    const left = (this.#end - this.#at) * 4 + this.#tailBytes;
    this.#carry.set(this.bytes.subarray(this.#at * 4, this.#at * 4 + left));
    this.#carried = left;
    this.#at = this.#end = 0;
    this.#hungry = true;
    return false;
  }

  #refuseHeader(index: number, validCount: number, invalidCount: number): never {
    throw new HtabFormatError(`bad ${validCount} ${invalidCount}`, { byteOffset: 0, recordIndex: 0, ptex: index });
  }

  #refuseHpte(recordIndex: number, index: number, first: number, bad: number): never {
    throw new HtabFormatError(whyBad(this.words, bad), {
      byteOffset: 0,
      recordIndex,
      ptex: index + (bad - first) / HPTE_WORDS,
    });
  }
}
