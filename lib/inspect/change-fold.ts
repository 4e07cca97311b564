import { swapBigEndian } from '../hpt/byte-order.js';
import { changedParts, type ChangedPart } from '../hpt/entry-changes.js';
import { entryCount } from '../hpt/geometry.js';
import { joinHalves } from '../hpt/halves.js';
import { HPTE_R_C, HPTE_R_R, HPTE_V_1TB_HIGH, sameHpte } from '../hpt/hpte-bits.js';
import type { SegmentSize } from '../hpt/hpte.js';
import type { RecordCounts } from '../hpt/record-source.js';
import type { HptTable } from '../hpt/table.js';
import type { RecordCursor } from '../records/cursor.js';
import type { IncompletePassError } from '../records/pass-counter.js';
import { TableFold } from '../records/table-fold.js';

/** Entries that are not as they were. */
export interface ChangeCounts {
  /** Valid, and were not before. */
  readonly come: number;
  /** Were valid, and are not. */
  readonly gone: number;
  /** Were valid, and are so with another value. */
  readonly changed: number;
}

/** What changed in one segment. An entry that maps another page than before counts in the segment of that page. */
export interface SegmentChanges extends ChangeCounts {
  readonly segment: SegmentSize;
  readonly vsid: bigint;
}

/** What changed in a table from one look at it to the next. */
export interface TableChanges extends ChangeCounts {
  /** Of the changed ones: R and C alone. */
  readonly marksOnly: number;
  /** Changed entries by what differs. */
  readonly parts: Readonly<Partial<Record<ChangedPart, number>>>;
  /** All of them, by part of the table: equal parts, from its first entry to its last. */
  readonly cells: Float64Array;
  readonly segments: readonly SegmentChanges[];
}

type Kind = keyof ChangeCounts;
type Counts = Record<Kind, number>;

const MARKS = HPTE_R_R | HPTE_R_C;

/**
 * Applies the passes of a table to an `HptTable`, and counts what each pass changes. The first pass gives everything, and counts as no
 * change. The cost of a later one follows what it names.
 */
export class ChangeFold extends TableFold {
  readonly #cellEntries: number;
  #total: Counts = noChanges();
  #marksOnly = 0;
  #parts: Partial<Record<ChangedPart, number>> = {};
  #cells: Float64Array;
  /** By VSID, with the segment size as its last bit. */
  #segments = new Map<number, Counts>();
  readonly #before = new Uint32Array(4);

  /** @param cells number of parts, a power of two */
  constructor(table: HptTable, cells: number, incomplete: IncompletePassError) {
    super(table, incomplete);
    this.#cellEntries = entryCount(table.order) / cells;
    this.#cells = new Float64Array(cells);
  }

  /** What has changed since the first pass, or since the last call. */
  takeChanges(): TableChanges {
    const changes: TableChanges = {
      ...this.#total,
      marksOnly: this.#marksOnly,
      parts: this.#parts,
      cells: this.#cells,
      segments: [...this.#segments].map(([key, counts]) => ({
        segment: key % 2 === 1 ? '1T' : '256M',
        vsid: BigInt(Math.floor(key / 2)),
        ...counts,
      })),
    };
    this.#total = noChanges();
    this.#marksOnly = 0;
    this.#parts = {};
    this.#cells = new Float64Array(this.#cells.length);
    this.#segments = new Map();
    return changes;
  }

  protected override take(cursor: RecordCursor): RecordCounts {
    if (this.passes === 0) return super.take(cursor);
    const counts: RecordCounts = { records: 0, validEntries: 0, invalidEntries: 0 };
    while (cursor.next()) {
      const { index, validCount, invalidCount } = cursor;
      for (let entry = 0; entry < validCount; entry++) {
        this.#compare(index + entry, cursor.words, cursor.wordOffset + entry * 4);
      }
      this.#countGone(index + validCount, index + validCount + invalidCount);
      this.table.applyRecord(index, validCount, invalidCount, cursor.longs, cursor.wordOffset >>> 1);
      counts.records++;
      counts.validEntries += validCount;
      counts.invalidEntries += invalidCount;
    }
    return counts;
  }

  #compare(ptex: number, words: Uint32Array, word: number): void {
    const vHigh = swapBigEndian(words[word]!);
    const vLow = swapBigEndian(words[word + 1]!);
    const rHigh = swapBigEndian(words[word + 2]!);
    const rLow = swapBigEndian(words[word + 3]!);
    const before = this.#before;
    if (!this.table.load(ptex, before)) {
      this.#count('come', ptex, vHigh, vLow);
      return;
    }
    if (sameHpte(before, vHigh, vLow, rHigh, rLow)) return;
    this.#count('changed', ptex, vHigh, vLow);
    if (sameHpte(before, vHigh, vLow, rHigh, (rLow & ~MARKS) | (before[3]! & MARKS))) {
      this.#marksOnly++;
      this.#countPart('marks');
      return;
    }
    const value = { v: joinHalves(vHigh, vLow), r: joinHalves(rHigh, rLow) };
    const [v0, v1, r0, r1] = before as unknown as [number, number, number, number];
    for (const part of changedParts({ v: joinHalves(v0, v1), r: joinHalves(r0, r1) }, value)) {
      this.#countPart(part);
    }
  }

  #countGone(from: number, end: number): void {
    const { valid } = this.table;
    for (let ptex = valid.next(from); ptex < end; ptex = valid.next(ptex + 1)) {
      this.table.load(ptex, this.#before);
      this.#count('gone', ptex, this.#before[0]!, this.#before[1]!);
    }
  }

  #countPart(part: ChangedPart): void {
    this.#parts[part] = (this.#parts[part] ?? 0) + 1;
  }

  #count(kind: Kind, ptex: number, vHigh: number, vLow: number): void {
    this.#total[kind]++;
    this.#cells[Math.floor(ptex / this.#cellEntries)]!++;
    const key = segmentKey(vHigh, vLow);
    let counts = this.#segments.get(key);
    if (counts === undefined) this.#segments.set(key, (counts = noChanges()));
    counts[kind]++;
  }
}

function noChanges(): Counts {
  return { come: 0, gone: 0, changed: 0 };
}

function segmentKey(vHigh: number, vLow: number): number {
  const upper = vHigh & 0x3fffffff;
  return (vHigh & HPTE_V_1TB_HIGH) !== 0
    ? (upper * 2 ** 8 + (vLow >>> 24)) * 2 + 1
    : (upper * 2 ** 20 + (vLow >>> 12)) * 2;
}
