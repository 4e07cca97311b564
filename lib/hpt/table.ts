import { checkBigint, checkInteger, checkMethod } from '../base/arguments.js';
import { BLOCK_BITS, SparseBitmap, lowestBit, popcount } from './bitmap.js';
import { MAX_STREAM_ORDER, checkOrder, entryCount } from './geometry.js';
import { PackedBlock } from './packed-block.js';
import { highHalf, joinHalves, lowHalf } from './halves.js';
import type { RecordCounts, RecordSource } from './record-source.js';

const NO_HPTES = new BigUint64Array(0);

/**
 * A hashed page table, kept sparsely: HPTE bytes exactly as they stand in the stream (kernel-abi.md 2.1), a bitmap of
 * valid entries and one of dirty marks.
 *
 * The valid HPTEs of 32 neighbouring entries (one bitmap word) stand packed side by side, so memory and passes cost
 * what is there, not what could be. Which changes mark an entry dirty is its owner's business: nothing here touches
 * {@link dirty}.
 *
 * @example
 * for (const [ptex, { v, r }] of table) console.log(ptex, v, r); // valid entries, ascending
 */
export class HptTable {
  /** log2 of the table's bytes, 18..36. */
  readonly order: number;
  /** Entries in the table, 2^(order - 4). */
  readonly entryCount: number;
  readonly valid: SparseBitmap;
  readonly dirty: SparseBitmap;
  /** @internal For passes: the HPTEs, by block of {@link valid}. */
  readonly blocks: (PackedBlock | undefined)[];

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
    this.blocks = new Array<PackedBlock | undefined>(this.valid.blocks.length).fill(undefined);
  }

  /** Number of valid entries. */
  get validCount(): number {
    return this.valid.count;
  }

  /**
   * Whether the entry is valid.
   *
   * @param ptex 0..entryCount - 1
   */
  has(ptex: number): boolean {
    return this.valid.has(ptex);
  }

  /**
   * Finds a valid entry by its rank; costs a look at each block of 65,536 entries and at one block's words.
   *
   * @param rank number of valid entries before it, 0..validCount - 1
   * @returns its ptex
   */
  nthValid(rank: number): number {
    checkInteger('rank', rank, 0, this.validCount - 1);
    let before = rank;
    let block = 0;
    for (let held = 0; (held = this.blocks[block]?.validCount ?? 0) <= before; block++) before -= held;
    const words = this.valid.blocks[block]!;
    let word = 0;
    for (let held = 0; (held = popcount(words[word]!)) <= before; word++) before -= held;
    let bits = words[word]!;
    for (; before > 0; before--) bits &= bits - 1;
    return block * BLOCK_BITS + word * 32 + lowestBit(bits);
  }

  /**
   * Reads one entry in 32-bit halves.
   *
   * @param ptex 0..entryCount - 1
   * @param out receives vHigh, vLow, rHigh, rLow
   * @returns false, with `out` untouched, if the entry is not valid
   */
  load(ptex: number, out: Uint32Array): boolean {
    const bits = this.valid.word(ptex);
    if (((bits >>> (ptex & 31)) & 1) === 0) return false;
    const packed = this.blocks[ptex >>> 16]!;
    const rank = popcount(bits & ~(-1 << (ptex & 31)));
    const byte = (packed.placeOf((ptex & 0xffff) >>> 5) + rank) << 4;
    const { view } = packed;
    out[0] = view.getUint32(byte);
    out[1] = view.getUint32(byte + 4);
    out[2] = view.getUint32(byte + 8);
    out[3] = view.getUint32(byte + 12);
    return true;
  }

  /**
   * Makes the entry valid with this HPTE, given in 32-bit halves, whatever it held before.
   *
   * @param ptex 0..entryCount - 1
   */
  store(ptex: number, vHigh: number, vLow: number, rHigh: number, rLow: number): void {
    const packed = this.blocks[ptex >>> 16] ?? this.#makeBlock(ptex);
    const byte = packed.add(ptex & 0xffff) << 4;
    const { view } = packed;
    view.setUint32(byte, vHigh);
    view.setUint32(byte + 4, vLow);
    view.setUint32(byte + 8, rHigh);
    view.setUint32(byte + 12, rLow);
  }

  /**
   * Makes the entry invalid.
   *
   * @returns whether it was valid
   */
  remove(ptex: number): boolean {
    return this.blocks[ptex >>> 16]?.delete(ptex & 0xffff) ?? false;
  }

  /**
   * Makes a run of entries invalid, at the cost of those that are valid.
   *
   * @returns how many were valid
   */
  removeRun(ptex: number, count: number): number {
    const before = this.valid.count;
    this.applyRecord(ptex, 0, count, NO_HPTES, 0);
    return before - this.valid.count;
  }

  /**
   * Applies one record: makes `validCount` entries valid, with the HPTEs given, and the next `invalidCount`
   * entries invalid.
   *
   * @param longs the HPTEs' bytes seen as doublewords, two an entry
   * @param long index of the first of them in `longs`
   */
  applyRecord(
    ptex: number,
    validCount: number,
    invalidCount: number,
    longs: BigUint64Array,
    long: number,
  ): void {
    const entry = ptex & 0xffff;
    const packed = this.blocks[ptex >>> 16];
    if (packed !== undefined && entry + validCount + invalidCount <= BLOCK_BITS) {
      packed.applyRecord(entry, validCount, invalidCount, longs, long);
    } else {
      this.#applyByBlock(ptex, validCount, invalidCount, longs, long);
    }
  }

  /**
   * @internal Applies all records that are left of a source, in order; `foldRecords` calls it.
   *
   * @param counts receives what was applied; also what came before a record that the source refuses with an error
   */
  applyRecords(records: RecordSource, counts: RecordCounts): void {
    for (let more = records.next(); more; more = records.next()) {
      const block = records.index >>> 16;
      const packed = this.blocks[block];
      if (packed?.applyRecords(records, block, counts) === false) return;
      const { index, validCount, invalidCount } = records;
      this.applyRecord(index, validCount, invalidCount, records.longs, records.wordOffset >>> 1);
      counts.records++;
      counts.validEntries += validCount;
      counts.invalidEntries += invalidCount;
    }
  }

  /** {@link applyRecord} where a block is left, or has never held an entry. */
  #applyByBlock(
    ptex: number,
    validCount: number,
    invalidCount: number,
    longs: BigUint64Array,
    long: number,
  ): void {
    const validEnd = ptex + validCount;
    const end = validEnd + invalidCount;
    for (let at = ptex; at < end;) {
      const blockEnd = at - (at & 0xffff) + BLOCK_BITS;
      const valid = Math.max(Math.min(validEnd, blockEnd) - at, 0);
      const invalid = Math.min(end, blockEnd) - at - valid;
      const packed = this.blocks[at >>> 16] ?? (valid > 0 ? this.#makeBlock(at) : undefined);
      packed?.applyRecord(at & 0xffff, valid, invalid, longs, long + (at - ptex) * 2);
      at = blockEnd;
    }
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
    checkBigint('v', v);
    checkBigint('r', r);
    this.store(ptex, highHalf(v), lowHalf(v), highHalf(r), lowHalf(r));
  }

  /**
   * The valid entries in ascending order, as `for (const [ptex, hpte] of table)` takes them. The loop reads each
   * when it reaches it, so it gives entries as they are then.
   */
  *[Symbol.iterator](): Generator<[ptex: number, hpte: { v: bigint; r: bigint }], undefined, undefined> {
    for (let ptex = this.valid.next(0); ptex < this.entryCount; ptex = this.valid.next(ptex + 1)) {
      yield [ptex, this.get(ptex)!];
    }
  }

  /** Makes every entry invalid and gives the memory back; dirty marks stay. */
  clear(): void {
    this.valid.clear();
    this.blocks.fill(undefined);
  }

  #check(ptex: number): void {
    checkInteger('ptex', ptex, 0, this.entryCount - 1);
  }

  #makeBlock(ptex: number): PackedBlock {
    const block = ptex >>> 16;
    return (this.blocks[block] = new PackedBlock(this.valid, ptex, this.blocks[block - 1]));
  }
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkTable(name: string, value: unknown): void {
  checkMethod(name, value, 'applyRecords', 'an HptTable');
}
