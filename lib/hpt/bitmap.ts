/** Bits in one block of a {@link SparseBitmap}. */
export const BLOCK_BITS = 65_536;
/** 32-bit words of bits in a block; the block's summary follows them. */
export const BLOCK_WORDS = BLOCK_BITS / 32;
const SUMMARY_WORDS = BLOCK_WORDS / 32;

/**
 * 2,048 words of bits, then 64 summary words: bit w of the summary is set exactly when word w is not 0, so that
 * a scan passes over 1,024 clear bits with one look.
 */
export type BitmapBlock = Uint32Array;

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

/** A set of up to 2^32 bit numbers; blocks in which no bit was ever set cost nothing. */
export class SparseBitmap {
  /** Bit numbers run from 0 to `size` - 1. */
  readonly size: number;
  /** @internal One block per 65,536 bits; undefined stands for a clear one. For scans that cannot afford a call per bit. */
  readonly blocks: (BitmapBlock | undefined)[];
  /** A bit for each block that is there. */
  readonly #opened: Uint32Array;
  #count = 0;

  /** @param size number of bits, 1..2^32 */
  constructor(size: number) {
    this.size = size;
    this.blocks = new Array<BitmapBlock | undefined>(Math.ceil(size / BLOCK_BITS)).fill(undefined);
    this.#opened = new Uint32Array(Math.ceil(this.blocks.length / 32));
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
    const block = this.open(index);
    const word = (index & 0xffff) >>> 5;
    const before = block[word]!;
    const after = (before | (1 << (index & 31))) >>> 0;
    if (after === before) return false;
    block[word] = after;
    block[BLOCK_WORDS + (word >>> 5)]! |= 1 << (word & 31);
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
    const block = this.open(index);
    const word = (index & 0xffff) >>> 5;
    const before = block[word]!;
    block[word] = before | mask;
    block[BLOCK_WORDS + (word >>> 5)]! |= 1 << (word & 31);
    this.#count += popcount(mask & ~before);
  }

  /** @internal Says how many more bits are set, or fewer, after blocks have been changed directly. */
  adjust(change: number): void {
    this.#count += change;
  }

  /** @internal The block that holds bit `index`, made if it is not there. */
  open(index: number): BitmapBlock {
    return this.blocks[index >>> 16] ?? this.#openBlock(index >>> 16);
  }

  #openBlock(block: number): BitmapBlock {
    this.#opened[block >>> 5]! |= 1 << (block & 31);
    return (this.blocks[block] = new Uint32Array(BLOCK_WORDS + SUMMARY_WORDS));
  }

  /** Number of the first block at or after `block` that is there; the number of blocks when there is none. */
  nextBlock(block: number): number {
    const opened = this.#opened;
    let word = block >>> 5;
    if (word >= opened.length) return this.blocks.length;
    let rest = (opened[word]! >>> (block & 31)) << (block & 31);
    while (rest === 0) {
      if (++word === opened.length) return this.blocks.length;
      rest = opened[word]!;
    }
    return word * 32 + lowestBit(rest);
  }

  /** The 32 bits that `index` is one of; bit `index` itself is bit `index & 31` of it. */
  word(index: number): number {
    const block = this.blocks[index >>> 16];
    return block === undefined ? 0 : block[(index & 0xffff) >>> 5]!;
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
      const block = this.blocks[index >>> 16];
      const blockEnd = Math.min(blockStart(index) + BLOCK_BITS, to);
      if (block !== undefined) removed += clearBits(block, index & 0xffff, blockEnd - blockStart(index));
      index = blockEnd;
    }
    this.#count -= removed;
    return removed;
  }

  #clear(index: number): boolean {
    const block = this.blocks[index >>> 16];
    if (block === undefined) return false;
    const word = (index & 0xffff) >>> 5;
    const before = block[word]! | 0;
    const after = before & ~(1 << (index & 31));
    if (after === before) return false;
    block[word] = after;
    if (after === 0) block[BLOCK_WORDS + (word >>> 5)]! &= ~(1 << (word & 31));
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
    const rest = this.word(from) >>> (from & 31);
    if (rest !== 0) return Math.min(from + lowestBit(rest), to);
    const wordEnd = from + 32 - (from & 31);
    for (let index = wordEnd; index < to; index = blockStart(index) + BLOCK_BITS) {
      const block = this.blocks[index >>> 16];
      if (block === undefined) continue;
      const bit = nextBit(block, index & 0xffff);
      if (bit < BLOCK_BITS) return Math.min(blockStart(index) + bit, to);
    }
    return to;
  }

  /** Clears every bit and gives the memory back. */
  clear(): void {
    this.blocks.fill(undefined);
    this.#opened.fill(0);
    this.#count = 0;
  }
}

/** Clears the bits `from` up to but without `to` of one block; returns how many were set. */
function clearBits(block: BitmapBlock, from: number, to: number): number {
  let removed = 0;
  for (let summaryWord = from >>> 10; summaryWord <= (to - 1) >>> 10; summaryWord++) {
    let left = block[BLOCK_WORDS + summaryWord]! | 0;
    for (let rest = left; rest !== 0; rest &= rest - 1) {
      const word = (summaryWord << 5) + 31 - Math.clz32(rest & -rest);
      const start = word << 5;
      const before = block[word]! | 0;
      let kept = 0;
      if (start < from) kept = start + 32 <= from ? before : before & ~(-1 << (from & 31));
      if (start + 32 > to) kept |= start >= to ? before : before & (-1 << (to & 31));
      block[word] = kept;
      removed += popcount(before ^ kept);
      if (kept === 0) left &= ~(rest & -rest);
    }
    block[BLOCK_WORDS + summaryWord] = left;
  }
  return removed;
}

/** First bit of the block that holds bit `index`, right up to 2^32. */
function blockStart(index: number): number {
  return index - (index & 0xffff);
}

/** First bit set in a block at or after `bit`; BLOCK_BITS when there is none. */
function nextBit(block: BitmapBlock, bit: number): number {
  const word = bit >>> 5;
  const rest = block[word]! >>> (bit & 31);
  if (rest !== 0) return bit + lowestBit(rest);
  const found = nextWord(block, word + 1);
  return found < BLOCK_WORDS ? (found << 5) + lowestBit(block[found]!) : BLOCK_BITS;
}

/**
 * Number of the first word at or after `word` that is not 0.
 *
 * @returns BLOCK_WORDS when there is none
 */
export function nextWord(block: BitmapBlock, word: number): number {
  if (word >= BLOCK_WORDS) return BLOCK_WORDS;
  let summaryWord = word >>> 5;
  let rest = (block[BLOCK_WORDS + summaryWord]! >>> (word & 31)) << (word & 31);
  while (rest === 0) {
    if (++summaryWord === SUMMARY_WORDS) return BLOCK_WORDS;
    rest = block[BLOCK_WORDS + summaryWord]!;
  }
  return summaryWord * 32 + lowestBit(rest);
}
