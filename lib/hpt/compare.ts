import { PAGE_BITS, PAGE_WORDS, lowestBit } from './bitmap.js';
import { sameHpte } from './hpte.js';
import { checkTable, type HptTable } from './table.js';

/** How two tables differ. */
export interface TableDifference {
  /** Number of entries that are not the same in both. */
  readonly count: number;
  /** The first of them, ascending, at most 16. */
  readonly ptexes: readonly number[];
}

/**
 * Compares two tables of one order, without the bits of `v` that are the kernel's own.
 *
 * @throws RangeError if the orders differ
 */
export function compareTables(a: HptTable, b: HptTable): TableDifference {
  checkTable('a', a);
  checkTable('b', b);
  if (a.order !== b.order)
    throw new RangeError(`tables of order ${a.order} and ${b.order} cannot be compared`);
  const ptexes: number[] = [];
  let count = 0;
  const differ = (ptex: number): void => {
    if (count++ < 16) ptexes.push(ptex);
  };
  const left = new Uint32Array(4);
  const right = new Uint32Array(4);
  for (let page = 0; page < a.valid.pages.length; page++) {
    const base = page * PAGE_BITS;
    const ours = a.valid.pages[page];
    const theirs = b.valid.pages[page];
    if (ours === undefined && theirs === undefined) continue;
    for (let word = 0; word < PAGE_WORDS; word++) {
      for (let rest = (ours?.[word] ?? 0) | (theirs?.[word] ?? 0); rest !== 0; rest &= rest - 1) {
        const ptex = base + word * 32 + lowestBit(rest);
        const same =
          a.load(ptex, left) &&
          b.load(ptex, right) &&
          sameHpte(left, right[0]!, right[1]!, right[2]!, right[3]!);
        if (!same) differ(ptex);
      }
    }
  }
  return { count, ptexes };
}
