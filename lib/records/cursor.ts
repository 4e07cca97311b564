import { checkBytes } from '../base/arguments.js';
import { type FormatErrorDetails, HtabFormatError, HtabStateError } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options.js';
import { checkLittleEndian, swapBigEndian } from '../hpt/byte-order.js';
import { HPTE_BYTES, MAX_STREAM_ORDER, checkOrder, entryCount } from '../hpt/geometry.js';
import { ChunkWindows } from './chunk-windows.js';
import { HEADER_BYTES, MAX_STREAM_ENTRIES, type HeaderByteOrder, checkHeaderByteOrder } from './header.js';
import { whatIsWrong } from './header-check.js';
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

/**
 * Walks a stream of records that comes in chunks cut anywhere. Before it shows a record it checks all that the kernel
 * would: the range, and of every HPTE the V bit, segment code and page-size code (kernel-abi.md 4.2, 4.4).
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
  readonly #bigEndianHeaders: number = 0;
  readonly #ascending: number = 0;
  readonly #check: ((record: RecordCursor) => void) | undefined;
  /** End of the last record. */
  #reached = 0;

  /** What next() walks. */
  readonly #windows: ChunkWindows;
  #at = 0;
  #end = 0;

  // A cut record: where its header was, and what is still to come of it.
  #cutOffset = 0;
  #owedIndex = 0;
  #owedValid = 0;
  #owedInvalid = 0;

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
    this.#windows = new ChunkWindows(headerByteOrder);
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
    return this.#windows.offset + this.byteOffset - HEADER_BYTES;
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
    if (!this.#windows.hungry) {
      throw new HtabStateError('busy', 'push() was called before next() had returned false');
    }
    if (this.#windows.push(chunk, this.#owedValid > 0)) this.#enter();
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
    if (!this.#windows.hungry) {
      throw new HtabStateError('busy', 'finish() was called before next() had returned false');
    }
    const { carry, offset } = this.#windows;
    const carried = carry.length;
    if (carried === 0 && this.#owedValid === 0) return;
    const byteOffset = offset + carried;
    if (this.#owedValid > 0) {
      const missing = this.#owedValid * HPTE_BYTES - carried;
      throw cutShortError(missing, { byteOffset, recordIndex: this.recordIndex, ptex: this.#owedIndex });
    }
    const recordIndex = this.recordIndex + 1;
    if (carried < HEADER_BYTES) throw cutShortError(HEADER_BYTES - carried, { byteOffset, recordIndex });
    const { index, validCount, invalidCount } = carry.header;
    this.#checkHeader(index, index + validCount + invalidCount);
    const missing = HEADER_BYTES + validCount * HPTE_BYTES - carried;
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
    this.#cutOffset = this.#windows.offset + this.#at * 4;
    this.#reached = index + validCount + invalidCount;
    this.#at = first;
    this.#owedIndex = index;
    this.#owedValid = validCount;
    this.#owedInvalid = invalidCount;
    return this.#showPart();
  }

  /** Shows what the window holds of the cut record; one HPTE at least. */
  #showPart(): boolean {
    this.#windows.checkMemory();
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

  /** Leaves the window; false if the next chunk is wanted. */
  #nextWindow(): boolean {
    if (this.#windows.hungry) return false;
    if (this.#windows.leave(this.#at)) {
      this.#enter();
      return true;
    }
    this.#at = 0;
    this.#end = 0;
    return false;
  }

  /** Begins with another window. */
  #enter(): void {
    const { bytes, words, longs } = this.#windows;
    this.bytes = bytes;
    this.words = words;
    this.longs = longs;
    this.#at = 0;
    this.#end = words.length;
  }

  /** Throws if the header at the window's place is not right. */
  #checkHeader(index: number, stop: number): void {
    this.#windows.checkMemory();
    const reached = this.#ascending === 0 ? 0 : this.#reached;
    const reason = whatIsWrong(index, stop, reached, this.entryLimit);
    if (reason === undefined) return;
    const byteOffset = this.#windows.offset + this.#at * 4;
    throw new HtabFormatError(reason, { byteOffset, recordIndex: this.recordIndex + 1, ptex: index });
  }

  #refuseHpte(first: number, index: number, recordIndex: number): never {
    let at = first;
    let reason = whatIsIllegal(this.words, at);
    while (reason === undefined) reason = whatIsIllegal(this.words, (at += HPTE_WORDS));
    throw new HtabFormatError(reason, {
      byteOffset: this.#windows.offset + at * 4,
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
