import { BLOCK_BITS, BLOCK_WORDS, lowestBit, nextWord } from './bitmap.js';
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
  for (const [number, bits] of table.valid.blocks.entries()) {
    if (bits === undefined) continue;
    const packed = table.blocks[number]!;
    for (let word = nextWord(bits, 0); word < BLOCK_WORDS; word = nextWord(bits, word + 1)) {
      let at = packed.placeOf(word) << 2;
      for (let rest = bits[word]!; rest !== 0; rest &= rest - 1, at += 4) {
        const ptex = number * BLOCK_BITS + word * 32 + lowestBit(rest);
        if (matches(ptex, packed.words, at)) return ptex;
      }
    }
  }
  return undefined;
}
