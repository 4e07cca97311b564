import { outOfRange } from '../errors.js';
import { SparseBitmap, popcount } from './bitmap.js';
import { MAX_STREAM_ORDER, checkOrder, entryCount } from './geometry.js';
import { GroupStore, copyHptes, shiftHptes } from './groups.js';
import { swapBigEndian } from './wire.js';

const PAGE_GROUPS = 2048;

/**
 * A hashed page table, kept sparsely: HPTE bytes exactly as they stand in the stream (kernel-abi.md 2.1), a bitmap of
 * valid entries and one of dirty marks.
 *
 * The valid HPTEs of 32 neighbouring entries (one bitmap word) stand packed in one group, so memory and passes cost
 * what is there, not what could be. Which changes mark an entry dirty is its owner's business: nothing here touches
 * {@link dirty}.
 */
export class HptTable {
  /** log2 of the table's bytes, 18..36. */
  readonly order: number;
  /** Entries in the table, 2^(order - 4). */
  readonly entryCount: number;
  readonly valid: SparseBitmap;
  readonly dirty: SparseBitmap;
  /** @internal For passes: where groups are. A group's slot is its address << 3 | size class; unused while it is empty. */
  readonly slots: (Uint32Array | undefined)[];
  /** @internal For passes: what groups hold. */
  readonly groups = new GroupStore();

  /**
   * @param order 18..36: entries of larger tables cannot be named by the stream's 32-bit index
   * @throws RangeError outside it
   */
  constructor(order: number) {
    checkOrder(order, MAX_STREAM_ORDER);
    this.order = order;
    this.entryCount = entryCount(order);
    this.valid = new SparseBitmap(this.entryCount);
    this.dirty = new SparseBitmap(this.entryCount);
    this.slots = new Array<Uint32Array | undefined>(this.valid.pages.length).fill(undefined);
  }

  /** Number of valid entries. */
  get validCount(): number {
    return this.valid.count;
  }

  has(ptex: number): boolean {
    return this.valid.has(ptex);
  }

  /**
   * Reads one entry in 32-bit halves.
   *
   * @param out receives vHigh, vLow, rHigh, rLow
   * @returns false, with `out` untouched, if the entry is not valid
   */
  load(ptex: number, out: Uint32Array): boolean {
    if (!this.valid.has(ptex)) return false;
    const place = this.#place(ptex);
    const chunk = this.groups.chunks[place >>> 16]!;
    const word = (place & 0xffff) << 2;
    out[0] = swapBigEndian(chunk[word]!);
    out[1] = swapBigEndian(chunk[word + 1]!);
    out[2] = swapBigEndian(chunk[word + 2]!);
    out[3] = swapBigEndian(chunk[word + 3]!);
    return true;
  }

  /** Makes the entry valid with this HPTE, whatever it held before. */
  store(ptex: number, vHigh: number, vLow: number, rHigh: number, rLow: number): void {
    const place = this.valid.has(ptex) ? this.#place(ptex) : this.#insert(ptex);
    const chunk = this.groups.chunks[place >>> 16]!;
    const word = (place & 0xffff) << 2;
    chunk[word] = swapBigEndian(vHigh);
    chunk[word + 1] = swapBigEndian(vLow);
    chunk[word + 2] = swapBigEndian(rHigh);
    chunk[word + 3] = swapBigEndian(rLow);
  }

  /**
   * Makes the entry invalid.
   *
   * @returns whether it was valid
   */
  remove(ptex: number): boolean {
    if (!this.valid.has(ptex)) return false;
    const bits = this.#groupBits(ptex);
    const slots = this.slots[ptex >>> 16]!;
    const group = (ptex & 0xffff) >>> 5;
    const slot = slots[group]!;
    const address = slot >>> 3;
    const sizeClass = slot & 7;
    const left = popcount(bits) - 1;
    const rank = rankOf(bits, ptex);
    this.valid.delete(ptex);
    if (left === 0) {
      this.groups.release(address, sizeClass);
      return true;
    }
    const chunk = this.groups.chunks[address >>> 16]!;
    const start = (address & 0xffff) << 2;
    shiftHptes(chunk, start + ((rank + 1) << 2), left - rank, -4);
    // At a quarter full, so that an entry coming and going does not move its group each time.
    if (left << 2 <= 1 << sizeClass) slots[group] = this.#move(address, sizeClass, sizeClass - 1, left);
    return true;
  }

  /**
   * Stores a run of HPTEs as they travel.
   *
   * @param words the HPTEs' bytes seen as 32-bit words, four an entry
   * @param word index of the first of them in `words`
   */
  storeRun(ptex: number, count: number, words: Uint32Array, word: number): void {
    const end = ptex + count;
    for (let index = ptex, from = word; index < end;) {
      const length = Math.min(32 - (index & 31), end - index);
      const place = this.#open(index, length);
      copyHptes(words, from, this.groups.chunks[place >>> 16]!, (place & 0xffff) << 2, length);
      // Group by group: should memory run out, the groups before are whole.
      this.valid.addRange(index, index + length);
      index += length;
      from += length << 2;
    }
  }

  /**
   * Copies a run of valid entries as they travel: the reverse of {@link storeRun}.
   *
   * @throws RangeError if one of them is not valid
   */
  copyRun(ptex: number, count: number, words: Uint32Array, word: number): void {
    const end = ptex + count;
    for (let index = ptex, to = word; index < end;) {
      const length = Math.min(32 - (index & 31), end - index);
      if (popcount(this.#groupBits(index) & (runMask(length) << (index & 31))) !== length) {
        throw new RangeError(`not every entry from ptex ${index} to ${index + length - 1} is valid`);
      }
      const place = this.#place(index);
      copyHptes(this.groups.chunks[place >>> 16]!, (place & 0xffff) << 2, words, to, length);
      index += length;
      to += length << 2;
    }
  }

  /**
   * Makes a run of entries invalid, at the cost of those that are valid.
   *
   * @returns how many were valid
   */
  removeRun(ptex: number, count: number): number {
    const end = ptex + count;
    let removed = 0;
    for (let index = this.valid.next(ptex, end); index < end; index = this.valid.next(index, end)) {
      this.remove(index);
      removed++;
    }
    return removed;
  }

  /**
   * The entry's doublewords, or undefined if it is not valid.
   *
   * @throws RangeError unless the table has this entry; the methods in halves and words do not check it
   */
  get(ptex: number): { v: bigint; r: bigint } | undefined {
    this.#check(ptex);
    const words = new Uint32Array(4);
    if (!this.load(ptex, words)) return undefined;
    return { v: joinHalves(words[0]!, words[1]!), r: joinHalves(words[2]!, words[3]!) };
  }

  /**
   * Makes the entry valid with these doublewords.
   *
   * @throws RangeError unless the table has this entry
   */
  set(ptex: number, v: bigint, r: bigint): void {
    this.#check(ptex);
    this.store(ptex, highHalf(v), lowHalf(v), highHalf(r), lowHalf(r));
  }

  /** Makes every entry invalid and gives the memory back; dirty marks stay. */
  clear(): void {
    this.valid.clear();
    this.slots.fill(undefined);
    this.groups.clear();
  }

  #check(ptex: number): void {
    if (!Number.isInteger(ptex) || ptex < 0 || ptex >= this.entryCount) {
      throw outOfRange('ptex', `an entry of the table's ${this.entryCount}`, ptex);
    }
  }

  #groupBits(ptex: number): number {
    const page = this.valid.pages[ptex >>> 16];
    return page === undefined ? 0 : page[(ptex & 0xffff) >>> 5]!;
  }

  /** Address of a valid entry's HPTE. */
  #place(ptex: number): number {
    return (this.slots[ptex >>> 16]![(ptex & 0xffff) >>> 5]! >>> 3) + rankOf(this.#groupBits(ptex), ptex);
  }

  /** Makes an invalid entry valid; returns the address for its HPTE. */
  #insert(ptex: number): number {
    const place = this.#open(ptex, 1);
    this.valid.add(ptex);
    return place;
  }

  /**
   * Makes room in its group for the HPTEs of `length` entries from `ptex`, which all lie in that group.
   *
   * @returns address of the first; the caller fills them and sets their valid bits
   */
  #open(ptex: number, length: number): number {
    const bits = this.#groupBits(ptex);
    const slots = (this.slots[ptex >>> 16] ??= new Uint32Array(PAGE_GROUPS));
    const group = (ptex & 0xffff) >>> 5;
    const rank = rankOf(bits, ptex);
    const held = popcount(bits);
    const replaced = popcount(bits & (runMask(length) << (ptex & 31)));
    if (replaced === length) return (slots[group]! >>> 3) + rank;
    const needed = held + length - replaced;
    if (held === 0) {
      const sizeClass = sizeClassOf(needed);
      const address = this.groups.allocate(sizeClass);
      slots[group] = (address << 3) | sizeClass;
      return address;
    }
    let slot = slots[group]!;
    if (needed > 1 << (slot & 7)) {
      slot = this.#move(slot >>> 3, slot & 7, sizeClassOf(needed), held);
      slots[group] = slot;
    }
    const address = slot >>> 3;
    const after = held - rank - replaced;
    if (after > 0) {
      const chunk = this.groups.chunks[address >>> 16]!;
      const start = (address & 0xffff) << 2;
      shiftHptes(chunk, start + ((rank + replaced) << 2), after, (length - replaced) << 2);
    }
    return address + rank;
  }

  /** Moves a group of `held` HPTEs to another size class; returns its new slot. */
  #move(address: number, sizeClass: number, newClass: number, held: number): number {
    const target = this.groups.allocate(newClass);
    copyHptes(
      this.groups.chunks[address >>> 16]!,
      (address & 0xffff) << 2,
      this.groups.chunks[target >>> 16]!,
      (target & 0xffff) << 2,
      held,
    );
    this.groups.release(address, sizeClass);
    return (target << 3) | newClass;
  }
}

/** Number of valid entries before `ptex` in its group. */
function rankOf(groupBits: number, ptex: number): number {
  return popcount(groupBits & ~(0xffffffff << (ptex & 31)));
}

/** The low `length` bits, 1..32. */
function runMask(length: number): number {
  return 0xffffffff >>> (32 - length);
}

/** Smallest size class that holds `count` HPTEs, 1..32. */
function sizeClassOf(count: number): number {
  return 32 - Math.clz32(count - 1);
}

/** The high 32 bits of a doubleword. */
export function highHalf(doubleword: bigint): number {
  return Number((doubleword >> 32n) & 0xffffffffn);
}

/** The low 32 bits of a doubleword. */
export function lowHalf(doubleword: bigint): number {
  return Number(doubleword & 0xffffffffn);
}

/** A doubleword from its halves. */
export function joinHalves(high: number, low: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
