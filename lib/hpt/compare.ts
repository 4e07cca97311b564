import { BLOCK_BITS, BLOCK_WORDS, lowestBit, nextWord } from './bitmap.js';
import { changedParts, type EntryChange } from './entry-changes.js';
import { sameHpte } from './hpte-bits.js';
import { checkTable, type HptTable } from './table.js';

/** How two tables differ. */
export interface TableDifference {
  /** Number of entries that are not the same in both. */
  readonly count: number;
  /** The first of them, ascending, at most 16. */
  readonly ptexes: readonly number[];
  /**
   * All of them, ascending, each with both values and what differs. The loop reads each when it reaches it, so the tables must
   * not change meanwhile.
   */
  changes(): Generator<EntryChange, undefined, undefined>;
}

/**
 * Compares two tables of one order, without the bits of `v` that are the kernel's own.
 *
 * @throws RangeError if the orders differ
 *
 * @example
 * const { count, ptexes } = compareTables(before, after);
 *
 * @example
 * for (const { kind, ptex } of compareTables(before, after).changes()) console.log(kind, ptex);
 */
export function compareTables(a: HptTable, b: HptTable): TableDifference {
  checkTable('a', a);
  checkTable('b', b);
  if (a.order !== b.order)
    throw new RangeError(`tables of order ${a.order} and ${b.order} cannot be compared`);
  const ptexes: number[] = [];
  let count = 0;
  for (const ptex of differing(a, b)) {
    if (count++ < 16) ptexes.push(ptex);
  }
  return new Difference(a, b, count, ptexes);
}

/** A class, so that `changes` does not show where a difference is printed. */
class Difference implements TableDifference {
  readonly count: number;
  readonly ptexes: readonly number[];
  readonly #a: HptTable;
  readonly #b: HptTable;

  constructor(a: HptTable, b: HptTable, count: number, ptexes: readonly number[]) {
    this.#a = a;
    this.#b = b;
    this.count = count;
    this.ptexes = ptexes;
  }

  *changes(): Generator<EntryChange, undefined, undefined> {
    for (const ptex of differing(this.#a, this.#b)) {
      const before = this.#a.get(ptex);
      const after = this.#b.get(ptex);
      if (before === undefined) yield { kind: 'come', ptex, after: after! };
      else if (after === undefined) yield { kind: 'gone', ptex, before };
      else yield { kind: 'changed', ptex, before, after, parts: changedParts(before, after) };
    }
  }
}

/** The entries that are not the same in both. */
function* differing(a: HptTable, b: HptTable): Generator<number, undefined, undefined> {
  const left = new Uint32Array(4);
  const right = new Uint32Array(4);
  const ends = a.valid.blocks.length;
  const nextBlock = (from: number): number => Math.min(a.valid.nextBlock(from), b.valid.nextBlock(from));
  for (let block = nextBlock(0); block < ends; block = nextBlock(block + 1)) {
    const ours = a.valid.blocks[block];
    const theirs = b.valid.blocks[block];
    const next = (from: number): number =>
      Math.min(
        ours === undefined ? BLOCK_WORDS : nextWord(ours, from),
        theirs === undefined ? BLOCK_WORDS : nextWord(theirs, from),
      );
    for (let word = next(0); word < BLOCK_WORDS; word = next(word + 1)) {
      for (let rest = (ours?.[word] ?? 0) | (theirs?.[word] ?? 0); rest !== 0; rest &= rest - 1) {
        const ptex = block * BLOCK_BITS + word * 32 + lowestBit(rest);
        const same =
          a.load(ptex, left) &&
          b.load(ptex, right) &&
          sameHpte(left, right[0]!, right[1]!, right[2]!, right[3]!);
        if (!same) yield ptex;
      }
    }
  }
}
