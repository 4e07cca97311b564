import { BLOCK_BITS, BLOCK_WORDS, nextWord, popcount } from '../hpt/bitmap.js';
import type { HptTable } from '../hpt/table.js';

const WORD_BITS = 32;

/**
 * How full each part of a table is: the share of its entries that are valid, 0..1.
 *
 * @param cells number of parts, a power of two up to 512, so that each has whole bitmap words
 */
export function tableMap(table: HptTable, cells: number): Float64Array {
  const counts = new Float64Array(cells);
  const cellEntries = table.entryCount / cells;
  const cellWords = cellEntries / WORD_BITS;
  const { valid } = table;
  for (let block = valid.nextBlock(0); block < valid.blocks.length; block = valid.nextBlock(block + 1)) {
    const bits = valid.blocks[block]!;
    const first = (block * BLOCK_BITS) / WORD_BITS;
    for (let word = nextWord(bits, 0); word < BLOCK_WORDS; word = nextWord(bits, word + 1)) {
      counts[Math.floor((first + word) / cellWords)]! += popcount(bits[word]!);
    }
  }
  return counts.map((count) => count / cellEntries);
}
