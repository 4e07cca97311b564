/** Bits in one page of a {@link SparseBitmap}. */
export const PAGE_BITS = 65_536;
/** 32-bit words of bits in a page; the page's summary follows them. */
export const PAGE_WORDS = PAGE_BITS / 32;
const SUMMARY_WORDS = PAGE_WORDS / 32;

/**
 * 2,048 words of bits, then 64 summary words: bit w of the summary is set exactly when word w is not 0, so that
 * a scan passes over 1,024 clear bits with one look.
 */
export type BitmapPage = Uint32Array;

/** Number of bits set in a 32-bit word. */
export function popcount(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Number of the lowest bit set in a 32-bit word that is not 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Mask of the bits `from` (0..31) up to but without `to` (1..32) of a word; `from` is below `to`. */
function maskOf(from: number, to: number): number {
  return (0xffffffff << from) & (0xffffffff >>> (32 - to));
}

/** A set of up to 2^32 bit numbers; pages in which no bit was ever set cost nothing. */
export class SparseBitmap {
  /** Bit numbers run from 0 to `size` - 1. */
  readonly size: number;
  /** @internal One page per 65,536 bits; undefined stands for a clear one. For scans that cannot afford a call per bit. */
  readonly pages: (BitmapPage | undefined)[];
  /** A bit for each page that is there. */
  readonly #opened: Uint32Array;
  #count = 0;

  /** @param size number of bits, 1..2^32 */
  constructor(size: number) {
    this.size = size;
    this.pages = new Array<BitmapPage | undefined>(Math.ceil(size / PAGE_BITS)).fill(undefined);
    this.#opened = new Uint32Array(Math.ceil(this.pages.length / 32));
  }

  /** Number of bits set. */
  get count(): number {
    return this.#count;
  }

  // Small enough for V8 to inline everywhere: most sets of an emulated VM are empty, and asked at every hypercall.
  has(index: number): boolean {
    return this.#count !== 0 && ((this.word(index) >>> (index & 31)) & 1) === 1;
  }

  /** @returns whether the bit was clear */
  add(index: number): boolean {
    const page = this.open(index);
    const word = (index & 0xffff) >>> 5;
    const before = page[word]!;
    const after = (before | (1 << (index & 31))) >>> 0;
    if (after === before) return false;
    page[word] = after;
    page[PAGE_WORDS + (word >>> 5)]! |= 1 << (word & 31);
    this.#count++;
    return true;
  }

  /** @returns whether the bit was set */
  delete(index: number): boolean {
    return this.#count !== 0 && this.#clear(index);
  }

  /** Sets the bits `from` up to but without `to`. */
  addRange(from: number, to: number): void {
    for (let index = from; index < to;) {
      const bit = index & 31;
      const length = Math.min(32 - bit, to - index);
      this.addMask(index, maskOf(bit, bit + length));
      index += length;
    }
  }

  /** @internal Sets all bits of `mask` in the 32-bit word that holds bit `index`. */
  addMask(index: number, mask: number): void {
    const page = this.open(index);
    const word = (index & 0xffff) >>> 5;
    const before = page[word]!;
    page[word] = before | mask;
    page[PAGE_WORDS + (word >>> 5)]! |= 1 << (word & 31);
    this.#count += popcount(mask & ~before);
  }

  /** @internal Says how many more bits are set, or fewer, after pages have been changed directly. */
  adjust(change: number): void {
    this.#count += change;
  }

  /** @internal The page that holds bit `index`, made if it is not there. */
  open(index: number): BitmapPage {
    return this.pages[index >>> 16] ?? this.#openPage(index >>> 16);
  }

  #openPage(page: number): BitmapPage {
    this.#opened[page >>> 5]! |= 1 << (page & 31);
    return (this.pages[page] = new Uint32Array(PAGE_WORDS + SUMMARY_WORDS));
  }

  /** Number of the first page at or after `page` that is there; of the one behind the last when there is none. */
  nextPage(page: number): number {
    const opened = this.#opened;
    let word = page >>> 5;
    if (word >= opened.length) return this.pages.length;
    let rest = (opened[word]! >>> (page & 31)) << (page & 31);
    while (rest === 0) {
      if (++word === opened.length) return this.pages.length;
      rest = opened[word]!;
    }
    return word * 32 + lowestBit(rest);
  }

  /** The 32 bits that `index` is one of; bit `index` itself is bit `index & 31` of it. */
  word(index: number): number {
    const page = this.pages[index >>> 16];
    return page === undefined ? 0 : page[(index & 0xffff) >>> 5]!;
  }

  /**
   * Clears the bits `from` up to but without `to`, at the cost of those that are set.
   *
   * @returns how many were set
   */
  deleteRange(from: number, to: number): number {
    if (this.#count === 0) return 0;
    let removed = 0;
    for (let index = from; index < to;) {
      const page = this.pages[index >>> 16];
      const pageEnd = Math.min(pageStart(index) + PAGE_BITS, to);
      if (page !== undefined) removed += clearBits(page, index & 0xffff, pageEnd - pageStart(index));
      index = pageEnd;
    }
    this.#count -= removed;
    return removed;
  }

  #clear(index: number): boolean {
    const page = this.pages[index >>> 16];
    if (page === undefined) return false;
    const word = (index & 0xffff) >>> 5;
    const before = page[word]! | 0;
    const after = before & ~(1 << (index & 31));
    if (after === before) return false;
    page[word] = after;
    if (after === 0) page[PAGE_WORDS + (word >>> 5)]! &= ~(1 << (word & 31));
    this.#count--;
    return true;
  }

  /**
   * Finds the first bit that is set at or after `from`.
   *
   * @param to where to stop looking, `from` <= to <= size; bounds the cost of one step over a huge empty table
   * @returns its number, or `to` when there is none
   */
  next(from: number, to: number = this.size): number {
    for (let index = from; index < to; index = pageStart(index) + PAGE_BITS) {
      const page = this.pages[index >>> 16];
      if (page === undefined) continue;
      const bit = nextBit(page, index & 0xffff);
      if (bit < PAGE_BITS) return Math.min(pageStart(index) + bit, to);
    }
    return to;
  }

  /** Clears every bit and gives the memory back. */
  clear(): void {
    this.pages.fill(undefined);
    this.#opened.fill(0);
    this.#count = 0;
  }
}

/** Clears the bits `from` up to but without `to` of one page; returns how many were set. */
function clearBits(page: BitmapPage, from: number, to: number): number {
  let removed = 0;
  for (let block = from >>> 10; block <= (to - 1) >>> 10; block++) {
    let left = page[PAGE_WORDS + block]! | 0;
    for (let rest = left; rest !== 0; rest &= rest - 1) {
      const word = (block << 5) + 31 - Math.clz32(rest & -rest);
      const start = word << 5;
      const before = page[word]! | 0;
      let kept = 0;
      if (start < from) kept = start + 32 <= from ? before : before & ~(-1 << (from & 31));
      if (start + 32 > to) kept |= start >= to ? before : before & (-1 << (to & 31));
      page[word] = kept;
      removed += popcount(before ^ kept);
      if (kept === 0) left &= ~(rest & -rest);
    }
    page[PAGE_WORDS + block] = left;
  }
  return removed;
}

/** First bit of the page that holds bit `index`, right up to 2^32. */
function pageStart(index: number): number {
  return index - (index & 0xffff);
}

/** First bit set in a page at or after `bit`; PAGE_BITS when there is none. */
function nextBit(page: BitmapPage, bit: number): number {
  const word = bit >>> 5;
  const rest = page[word]! >>> (bit & 31);
  if (rest !== 0) return bit + lowestBit(rest);
  const found = nextWord(page, word + 1);
  return found < PAGE_WORDS ? (found << 5) + lowestBit(page[found]!) : PAGE_BITS;
}

/**
 * Number of the first word at or after `word` that is not 0.
 *
 * @returns PAGE_WORDS when there is none
 */
export function nextWord(page: BitmapPage, word: number): number {
  if (word >= PAGE_WORDS) return PAGE_WORDS;
  let summaryWord = word >>> 5;
  let rest = (page[PAGE_WORDS + summaryWord]! >>> (word & 31)) << (word & 31);
  while (rest === 0) {
    if (++summaryWord === SUMMARY_WORDS) return PAGE_WORDS;
    rest = page[PAGE_WORDS + summaryWord]!;
  }
  return summaryWord * 32 + lowestBit(rest);
}
