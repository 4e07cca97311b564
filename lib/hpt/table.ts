import { checkBigint, checkInteger, checkMethod } from '../arguments.js';
import { PAGE_BITS, SparseBitmap, popcount } from './bitmap.js';
import { MAX_STREAM_ORDER, checkOrder, entryCount } from './geometry.js';
import { PageGroups } from './groups.js';
import type { RecordCounts, RecordSource } from './record-source.js';

const NO_HPTES = new BigUint64Array(0);

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
  /** @internal For passes: the HPTEs, by page of {@link valid}. */
  readonly groups: (PageGroups | undefined)[];

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
    this.groups = new Array<PageGroups | undefined>(this.valid.pages.length).fill(undefined);
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
   * Reads one entry in 32-bit halves.
   *
   * @param ptex 0..entryCount - 1
   * @param out receives vHigh, vLow, rHigh, rLow
   * @returns false, with `out` untouched, if the entry is not valid
   */
  load(ptex: number, out: Uint32Array): boolean {
    const bits = this.valid.word(ptex);
    if (((bits >>> (ptex & 31)) & 1) === 0) return false;
    const groups = this.groups[ptex >>> 16]!;
    const rank = popcount(bits & ~(-1 << (ptex & 31)));
    const byte = (groups.placeOf((ptex & 0xffff) >>> 5) + rank) << 4;
    const { view } = groups;
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
    const groups = this.groups[ptex >>> 16] ?? this.#makeGroups(ptex);
    const byte = groups.add(ptex & 0xffff) << 4;
    const { view } = groups;
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
    return this.groups[ptex >>> 16]?.delete(ptex & 0xffff) ?? false;
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
   * What a record of the stream says: makes `validCount` entries valid, with the HPTEs given, and the next `invalidCount`
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
    const groups = this.groups[ptex >>> 16];
    if (groups !== undefined && entry + validCount + invalidCount <= PAGE_BITS) {
      groups.applyRecord(entry, validCount, invalidCount, longs, long);
    } else {
      this.#applyByPage(ptex, validCount, invalidCount, longs, long);
    }
  }

  /**
   * @internal Applies all records that are left of a source, in order; `foldRecords` calls it.
   *
   * @param counts is told what was applied; also what came before a record that the source refuses with an error
   */
  applyRecords(records: RecordSource, counts: RecordCounts): void {
    for (let more = records.next(); more; more = records.next()) {
      const page = records.index >>> 16;
      const groups = this.groups[page];
      if (groups?.append(records, page, counts) === false) return;
      const { index, validCount, invalidCount } = records;
      this.applyRecord(index, validCount, invalidCount, records.longs, records.wordOffset >>> 1);
      counts.records++;
      counts.validEntries += validCount;
      counts.invalidEntries += invalidCount;
    }
  }

  /** {@link applyRecord} where a page is left, or has never held an entry. */
  #applyByPage(
    ptex: number,
    validCount: number,
    invalidCount: number,
    longs: BigUint64Array,
    long: number,
  ): void {
    const validEnd = ptex + validCount;
    const end = validEnd + invalidCount;
    for (let at = ptex; at < end;) {
      const pageEnd = at - (at & 0xffff) + PAGE_BITS;
      const valid = Math.max(Math.min(validEnd, pageEnd) - at, 0);
      const invalid = Math.min(end, pageEnd) - at - valid;
      const groups = this.groups[at >>> 16] ?? (valid > 0 ? this.#makeGroups(at) : undefined);
      groups?.applyRecord(at & 0xffff, valid, invalid, longs, long + (at - ptex) * 2);
      at = pageEnd;
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

  /** Makes every entry invalid and gives the memory back; dirty marks stay. */
  clear(): void {
    this.valid.clear();
    this.groups.fill(undefined);
  }

  #check(ptex: number): void {
    checkInteger('ptex', ptex, 0, this.entryCount - 1);
  }

  #makeGroups(ptex: number): PageGroups {
    const page = ptex >>> 16;
    return (this.groups[page] = new PageGroups(this.valid, ptex, this.groups[page - 1]));
  }
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

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkTable(name: string, value: unknown): void {
  checkMethod(name, value, 'applyRecords', 'an HptTable');
}
