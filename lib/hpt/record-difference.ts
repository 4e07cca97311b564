import { popcount } from './bitmap.js';
import type { RecordSource } from './record-source.js';
import type { HptTable } from './table.js';

/** The first entry of a source's record that is not as the table has it; undefined if all are. */
export function differenceIn(expected: HptTable, record: RecordSource): number | undefined {
  const validEnd = record.index + record.validCount;
  for (let ptex = record.index, word = record.wordOffset; ptex < validEnd;) {
    const length = Math.min(32 - (ptex & 31), validEnd - ptex);
    const same = countSame(expected, { ptex, length }, record.words, word);
    if (same < length) return ptex + same;
    ptex += length;
    word += length * 4;
  }
  const end = validEnd + record.invalidCount;
  const ptex = expected.valid.next(validEnd, end);
  return ptex < end ? ptex : undefined;
}

/** Entries that share a word of the bitmap. */
interface Run {
  readonly ptex: number;
  readonly length: number;
}

/**
 * How many entries of a run, before the first other one, are valid and have these HPTEs but for the bits of `v` that are the
 * kernel's own.
 *
 * @param words holds the HPTEs, as they travel, from `word` on
 */
function countSame(table: HptTable, { ptex, length }: Run, words: Uint32Array, word: number): number {
  const bits = table.valid.word(ptex) | 0;
  const held = bits >>> (ptex & 31);
  // Bits set without a gap from bit 0 on.
  const valid = Math.min(32 - Math.clz32((~held & (held + 1)) - 1), length);
  if (valid === 0) return 0;
  const packed = table.blocks[ptex >>> 16]!;
  const ours = packed.words;
  let our = (packed.placeOf((ptex & 0xffff) >>> 5) + popcount(bits & ~(-1 << (ptex & 31)))) << 2;
  for (let entry = 0, at = word; entry < valid; entry++, our += 4, at += 4) {
    // 0x60 in the last byte of v. A literal: V8 does not fold constants of a module into its functions.
    const different =
      (ours[our]! ^ words[at]!) |
      ((ours[our + 1]! ^ words[at + 1]!) & ~0x6000_0000) |
      (ours[our + 2]! ^ words[at + 2]!) |
      (ours[our + 3]! ^ words[at + 3]!);
    if (different !== 0) return entry;
  }
  return valid;
}
