import { checkBytes, invalidValueError } from '../base/arguments.js';
import { type FormatErrorDetails, HtabFormatError, HtabStateError } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options.js';
import { HPTE_BYTES, MAX_STREAM_ORDER, checkOrder, entryCount } from '../hpt/geometry.js';
import { checkLittleEndian, swapBigEndian } from '../hpt/byte-order.js';
import {
  HEADER_BYTES,
  MAX_STREAM_ENTRIES,
  type HeaderByteOrder,
  checkHeaderByteOrder,
  readHeader,
} from './header.js';
import { HPTE_WORDS, legalPair, legalRun, whatIsIllegal } from './hpte-check.js';

export interface RecordCursorOptions {
  /** Order of the stream's table, 18..36: records beyond its end are refused. Default: all that the index can name. */
  readonly order?: number | undefined;
  /** Byte order of record headers. Default `LE`, as the kernel of every supported host writes them. */
  readonly headerByteOrder?: HeaderByteOrder | undefined;
  /** The stream is one pass: no record may begin before the end of the one before it (kernel-abi.md 2.3). */
  readonly ascending?: boolean;
  /** Looks at every record, or part of one, before it is shown; what it throws is an error of the stream. */
  readonly check?: ((record: RecordCursor) => void) | undefined;
}

const CURSOR_NAMES: OptionNames<RecordCursorOptions> = {
  order: true,
  headerByteOrder: true,
  ascending: true,
  check: true,
};
const HEADER_WORDS = HEADER_BYTES / 4;
/** Alignment of all HPTEs of a stream, and so of memory that is read as u32 and u64. */
const ALIGNMENT = 8;

/**
 * Walks a stream of records that comes in chunks cut anywhere. Before it shows a record it checks all that the kernel
 * would: the range, and of every HPTE the V bit, segment code and page-size code (kernel-abi.md 4.2, 4.4).
 *
 * ```ts
 * for (const chunk of chunks) {
 *   cursor.push(chunk);
 *   while (cursor.next()) use(cursor.index, cursor.validCount, cursor.invalidCount, cursor.bytes, cursor.byteOffset);
 * }
 * cursor.finish();
 * ```
 *
 * The cursor itself is the record: each `next()` that returns true sets its fields, and nothing is allocated. HPTEs
 * stay where they are, in the chunk; only a chunk that does not begin at a multiple of 8 in its ArrayBuffer is copied. A
 * record cut by the end of a chunk is shown in parts, as (index, k, 0) and then (index + k, rest, invalidCount), which
 * means the same: so no more than 23 bytes are kept from one chunk to the next.
 *
 * After an error the cursor stays where it is and throws the same error again. Of the record named in it nothing has
 * been shown, except the parts before the one in question where the record was cut.
 *
 * @example
 * const cursor = new RecordCursor({ order: 24 });
 * cursor.push(chunk);
 * while (cursor.next()) console.log(cursor.index, cursor.validCount, cursor.invalidCount);
 * cursor.finish(); // throws if the last record is cut
 */
export class RecordCursor {
  /** The stream may name entries 0 .. `entryLimit` - 1. */
  readonly entryLimit: number = MAX_STREAM_ENTRIES;
  /** ptex of the first entry. */
  index = 0;
  /** Valid entries, from `index` on. */
  validCount = 0;
  /** Invalid entries after them. */
  invalidCount = 0;
  /** Number of the record in the stream, counted from 0; the parts of a cut record share it. -1 before the first. */
  recordIndex = -1;
  /** Holds the HPTEs of the valid entries, at `byteOffset`; untouched until the next `next()` or `push()`. */
  bytes: Uint8Array = new Uint8Array(0);
  /** The same memory as u32 words, four an HPTE, as they stand there: big-endian. */
  words: Uint32Array = new Uint32Array(0);
  /** The same memory as u64, two an HPTE: what copies fastest. They begin at half of `wordOffset`. */
  longs: BigUint64Array = new BigUint64Array(0);
  /** Where in `words` the HPTEs begin. */
  wordOffset = 0;

  // Every field begins as a number, and flags are numbers: so V8 keeps them unboxed, which is worth a tenth of next().
  readonly #headerByteOrder: HeaderByteOrder;
  readonly #bigEndianHeaders: number = 0;
  readonly #ascending: number = 0;
  readonly #check: ((record: RecordCursor) => void) | undefined;
  /** End of the last record. */
  #reached = 0;

  // The window is what next() walks: a chunk, its aligned copy, or the carry. It begins with a header or an HPTE.
  #at = 0;
  #end = 0;
  /** Bytes after `#end`, fewer than a word. */
  #tailBytes = 0;
  /** Offset of the window in the stream. */
  #windowOffset = 0;
  /** The rest of a chunk whose first bytes went into the carry. */
  #rest: Uint8Array | undefined;
  #hungry = true;

  // A cut record: where its header was, and what is still to come of it.
  #cutOffset = 0;
  #owedIndex = 0;
  #owedValid = 0;
  #owedInvalid = 0;

  // A header, an HPTE, or a header and its first HPTE, that two chunks share.
  readonly #carry = new Uint8Array(HEADER_BYTES + HPTE_BYTES);
  #carried = 0;
  #copy = new Uint8Array(0);

  /**
   * @throws RangeError for an order outside 18..36
   * @throws TypeError for an unknown `headerByteOrder`
   */
  constructor(options: RecordCursorOptions = {}) {
    checkOptions(options, CURSOR_NAMES);
    const { order, headerByteOrder = 'LE', ascending = false, check } = options;
    checkLittleEndian('records cannot be read here');
    if (order !== undefined) {
      checkOrder(order, MAX_STREAM_ORDER);
      this.entryLimit = entryCount(order);
    }
    checkHeaderByteOrder(headerByteOrder);
    this.#headerByteOrder = headerByteOrder;
    if (headerByteOrder === 'BE') this.#bigEndianHeaders = 1;
    if (ascending) this.#ascending = 1;
    this.#check = check;
  }

  /** Where in `bytes` the HPTEs begin: 16 bytes each, v and r, big-endian. */
  get byteOffset(): number {
    return this.wordOffset * 4;
  }

  /** Offset in the stream of the record's header. */
  get streamOffset(): number {
    // Only what goes on with a cut record has no header before it in its window.
    if (this.wordOffset < HEADER_WORDS) return this.#cutOffset;
    return this.#windowOffset + this.byteOffset - HEADER_BYTES;
  }

  /** False where more parts of this record follow, in the next chunk. */
  get complete(): boolean {
    return this.#owedValid === 0;
  }

  /**
   * Gives the cursor the stream's next bytes. They must not change until `next()` has returned false.
   *
   * @throws HtabStateError (`busy`) while there are records left of the last chunk
   * @throws TypeError unless it is a Uint8Array whose memory has not been transferred away
   */
  push(chunk: Uint8Array): void {
    checkBytes('chunk', chunk);
    if (!this.#hungry) throw new HtabStateError('busy', 'push() was called before next() had returned false');
    if (this.#carried === 0) {
      this.#hungry = false;
      this.#open(chunk);
      return;
    }
    let taken = 0;
    for (let wanted = this.#unitBytes(); this.#carried < wanted; wanted = this.#unitBytes()) {
      if (taken === chunk.length) return;
      const part = chunk.subarray(taken, taken + wanted - this.#carried);
      this.#carry.set(part, this.#carried);
      this.#carried += part.length;
      taken += part.length;
    }
    this.#hungry = false;
    this.#rest = chunk.subarray(taken);
    this.#open(this.#carry.subarray(0, this.#carried));
    this.#carried = 0;
  }

  /**
   * Goes to the next record, or part of one.
   *
   * @returns false if the chunk is used up
   * @throws HtabFormatError with the place, if the kernel would not write such a record, or not take it
   * @throws TypeError if the chunk's memory has been transferred away
   */
  next(): boolean {
    // V8 inlines functions of up to 460 bytes of bytecode, and this one has 432: a fifth of the time of small records.
    const words = this.words;
    const head = this.#at;
    const first = head + HEADER_WORDS;
    if (this.#owedValid !== 0 || first > this.#end) return this.#goOn();

    let index = words[head]!;
    let counts = words[head + 1]!;
    if (this.#bigEndianHeaders !== 0) {
      index = swapBigEndian(index);
      counts = swapBigEndian(counts);
      counts = (counts << 16) | (counts >>> 16);
    }
    const validCount = counts & 0xffff;
    const invalidCount = counts >>> 16;
    const stop = index + validCount + invalidCount;
    // Not `stop > limit`: where the chunk's memory is gone, words are undefined and stop is NaN.
    if (counts === 0 || !(stop <= this.entryLimit) || (this.#ascending !== 0 && index < this.#reached)) {
      this.#checkHeader(index, stop);
    }

    const after = first + validCount * HPTE_WORDS;
    if (after > this.#end) return this.#cut(index, validCount, invalidCount);
    const isLegal =
      validCount > 2
        ? legalRun(words, this.longs, first, validCount)
        : validCount === 0 || legalPair(words, first, after - HPTE_WORDS);
    if (!isLegal) this.#refuseHpte(first, index, this.recordIndex + 1);
    this.wordOffset = first;
    this.index = index;
    this.validCount = validCount;
    this.invalidCount = invalidCount;
    this.#check?.(this);
    this.#at = after;
    this.#reached = stop;
    this.recordIndex++;
    return true;
  }

  /**
   * Ends the stream.
   *
   * @throws HtabFormatError if it ended inside a record
   * @throws HtabStateError (`busy`) while there are records left of the last chunk
   */
  finish(): void {
    if (!this.#hungry) {
      throw new HtabStateError('busy', 'finish() was called before next() had returned false');
    }
    if (this.#carried === 0 && this.#owedValid === 0) return;
    const byteOffset = this.#windowOffset + this.#carried;
    if (this.#owedValid > 0) {
      const missing = this.#owedValid * HPTE_BYTES - this.#carried;
      throw cutShortError(missing, { byteOffset, recordIndex: this.recordIndex, ptex: this.#owedIndex });
    }
    const recordIndex = this.recordIndex + 1;
    if (this.#carried < HEADER_BYTES) {
      throw cutShortError(HEADER_BYTES - this.#carried, { byteOffset, recordIndex });
    }
    const { index, validCount, invalidCount } = readHeader(this.#carry, 0, this.#headerByteOrder);
    this.#checkHeader(index, index + validCount + invalidCount);
    const missing = HEADER_BYTES + validCount * HPTE_BYTES - this.#carried;
    throw cutShortError(missing, { byteOffset, recordIndex, ptex: index });
  }

  /** Goes on where the window holds no whole header: with a cut record, or in the next window. */
  #goOn(): boolean {
    if (this.#owedValid !== 0 && this.#end - this.#at >= HPTE_WORDS) return this.#showPart();
    return this.#nextWindow() && this.next();
  }

  /** Begins a record that does not end in this window. */
  #cut(index: number, validCount: number, invalidCount: number): boolean {
    const first = this.#at + HEADER_WORDS;
    if (this.#end - first < HPTE_WORDS) return this.#nextWindow() && this.next();
    this.recordIndex++;
    this.#cutOffset = this.#windowOffset + this.#at * 4;
    this.#reached = index + validCount + invalidCount;
    this.#at = first;
    this.#owedIndex = index;
    this.#owedValid = validCount;
    this.#owedInvalid = invalidCount;
    return this.#showPart();
  }

  /** Shows what the window holds of the cut record; one HPTE at least. */
  #showPart(): boolean {
    this.#checkMemory();
    const first = this.#at;
    const count = Math.min(this.#owedValid, Math.floor((this.#end - first) / HPTE_WORDS));
    if (!legalRun(this.words, this.longs, first, count)) {
      this.#refuseHpte(first, this.#owedIndex, this.recordIndex);
    }
    this.wordOffset = first;
    this.index = this.#owedIndex;
    this.validCount = count;
    this.invalidCount = count === this.#owedValid ? this.#owedInvalid : 0;
    this.#check?.(this);
    this.#at = first + count * HPTE_WORDS;
    this.#owedIndex += count;
    this.#owedValid -= count;
    return true;
  }

  /** Leaves the window: for the rest of the chunk, or with what is left of it in the carry and false. */
  #nextWindow(): boolean {
    if (this.#hungry) return false;
    this.#checkMemory();
    const rest = this.#rest;
    if (rest !== undefined) checkBytes('chunk', rest);
    this.#windowOffset += this.#at * 4;
    if (rest !== undefined) {
      this.#rest = undefined;
      this.#open(rest);
      return true;
    }
    this.#carried = (this.#end - this.#at) * 4 + this.#tailBytes;
    this.#carry.set(this.bytes.subarray(this.#at * 4, this.#at * 4 + this.#carried));
    this.#at = 0;
    this.#end = 0;
    this.#tailBytes = 0;
    this.#hungry = true;
    return false;
  }

  /** Makes these bytes the window. */
  #open(chunk: Uint8Array): void {
    let bytes = chunk;
    if (chunk.byteOffset % ALIGNMENT !== 0) {
      if (this.#copy.length < chunk.length) this.#copy = new Uint8Array(chunk.length);
      bytes = this.#copy;
      bytes.set(chunk);
    }
    this.bytes = bytes;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, Math.floor(chunk.length / 4));
    this.longs = new BigUint64Array(bytes.buffer, bytes.byteOffset, Math.floor(chunk.length / 8));
    this.#at = 0;
    this.#end = this.words.length;
    this.#tailBytes = chunk.length % 4;
  }

  /** Bytes that must be in the carry before anything of it can be shown. */
  #unitBytes(): number {
    if (this.#owedValid > 0) return HPTE_BYTES;
    if (this.#carried < HEADER_BYTES) return HEADER_BYTES;
    const { validCount } = readHeader(this.#carry, 0, this.#headerByteOrder);
    return validCount === 0 ? HEADER_BYTES : HEADER_BYTES + HPTE_BYTES;
  }

  /** Throws if the window's memory has gone since it was opened. */
  #checkMemory(): void {
    if (this.bytes.length >= this.#end * 4 + this.#tailBytes) return;
    throw invalidValueError('The memory of the "chunk" argument was transferred away');
  }

  /** Throws if the header at the window's place is not right. */
  #checkHeader(index: number, stop: number): void {
    this.#checkMemory();
    const place = {
      byteOffset: this.#windowOffset + this.#at * 4,
      recordIndex: this.recordIndex + 1,
      ptex: index,
    };
    if (stop === index) throw new HtabFormatError('a record has neither valid nor invalid entries', place);
    if (stop > this.entryLimit) {
      throw new HtabFormatError(
        `a record ends at entry ${stop - 1}, beyond the last entry ${this.entryLimit - 1}`,
        place,
      );
    }
    if (this.#ascending !== 0 && index < this.#reached) {
      throw new HtabFormatError(
        `a record begins before entry ${this.#reached}, where the record before it ended`,
        place,
      );
    }
  }

  #refuseHpte(first: number, index: number, recordIndex: number): never {
    let at = first;
    let reason = whatIsIllegal(this.words, at);
    while (reason === undefined) reason = whatIsIllegal(this.words, (at += HPTE_WORDS));
    throw new HtabFormatError(reason, {
      byteOffset: this.#windowOffset + at * 4,
      recordIndex,
      ptex: index + (at - first) / HPTE_WORDS,
    });
  }
}

function cutShortError(missing: number, place: FormatErrorDetails): HtabFormatError {
  const bytes = missing === 1 ? 'byte' : 'bytes';
  return new HtabFormatError(
    `the stream ends inside a record: at least ${missing} more ${bytes} expected`,
    place,
  );
}
