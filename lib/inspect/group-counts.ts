import { BLOCK_WORDS, nextWord, popcount } from '../hpt/bitmap.js';
import { ptegCount } from '../hpt/geometry.js';
import type { HptTable } from '../hpt/table.js';

const GROUPS_PER_WORD = 4;
const GROUPS_PER_BLOCK = BLOCK_WORDS * GROUPS_PER_WORD;

/**
 * Valid entries by neighbouring groups: the first number is of the groups from 0 on, and so on.
 *
 * @param groupsPerCell groups counted together, a power of two up to the number of groups
 */
export function groupCounts(table: HptTable, groupsPerCell: number): Uint32Array {
  const counts = new Uint32Array(ptegCount(table.order) / groupsPerCell);
  const { valid } = table;
  for (let block = valid.nextBlock(0); block < valid.blocks.length; block = valid.nextBlock(block + 1)) {
    const bits = valid.blocks[block]!;
    for (let word = nextWord(bits, 0); word < BLOCK_WORDS; word = nextWord(bits, word + 1)) {
      let group = block * GROUPS_PER_BLOCK + word * GROUPS_PER_WORD;
      for (let rest = bits[word]!; rest !== 0; rest >>>= 8, group++) {
        counts[Math.floor(group / groupsPerCell)]! += popcount(rest & 0xff);
      }
    }
  }
  return counts;
}
