import { PAGE_BITS, PAGE_WORDS, lowestBit, nextWord } from './bitmap.js';
import type { HptTable } from './table.js';

/** A valid entry: its HPTE's four words begin at `words[word]`, as they travel. */
type EntryAt = readonly [ptex: number, words: Uint32Array, word: number];

/** Visits every valid entry in ascending order. */
export function forEachValid(table: HptTable, visit: (...entry: EntryAt) => void): void {
  findValid(table, (ptex, words, word) => {
    visit(ptex, words, word);
    return false;
  });
}

/** The first valid entry for which `matches` is true; undefined if it is for none. */
export function findValid(table: HptTable, matches: (...entry: EntryAt) => boolean): number | undefined {
  for (const [number, page] of table.valid.pages.entries()) {
    if (page === undefined) continue;
    const groups = table.groups[number]!;
    for (let group = nextWord(page, 0); group < PAGE_WORDS; group = nextWord(page, group + 1)) {
      let word = groups.placeOf(group) << 2;
      for (let rest = page[group]!; rest !== 0; rest &= rest - 1, word += 4) {
        const ptex = number * PAGE_BITS + group * 32 + lowestBit(rest);
        if (matches(ptex, groups.words, word)) return ptex;
      }
    }
  }
  return undefined;
}
