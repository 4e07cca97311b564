import { createHash } from 'node:crypto';
import type { HptTable } from './table.js';
import { HPTE_V_ABSENT, HPTE_V_HVLOCK } from './hpte.js';
import { lowestBit, nextWord, PAGE_WORDS } from './bitmap.js';
import { swapBigEndian, swapLittleEndian } from './wire.js';

/** Bits of `v` that are the kernel's own (kernel-abi.md 3.1). */
const HPTE_V_PRIVATE = HPTE_V_ABSENT | HPTE_V_HVLOCK;
const ENTRY_WORDS = 5;
const BATCH_ENTRIES = 4096;
/** The kernel's own bits of `v`, as they stand in a word of stream bytes. */
const PRIVATE_WORD = swapBigEndian(HPTE_V_PRIVATE);

/**
 * SHA-256 over a table's content: order, then index (32 bits, little-endian) and HPTE bytes of every valid entry in
 * ascending order, without the bits of `v` that are the kernel's own (0x60), which differ between reads and hosts.
 *
 * @returns 64 hexadecimal digits
 */
export function digestTable(table: HptTable): string {
  const hash = createHash('sha256').update(`hpt order ${table.order}\n`);
  const batch = new Uint32Array(BATCH_ENTRIES * ENTRY_WORDS);
  let used = 0;
  forEachValid(table, (ptex, words, word) => {
    batch[used] = swapLittleEndian(ptex);
    batch[used + 1] = words[word]!;
    batch[used + 2] = words[word + 1]! & ~PRIVATE_WORD;
    batch[used + 3] = words[word + 2]!;
    batch[used + 4] = words[word + 3]!;
    used += ENTRY_WORDS;
    if (used === batch.length) {
      hash.update(batch);
      used = 0;
    }
  });
  return hash.update(batch.subarray(0, used)).digest('hex');
}

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
    const base = page * 65_536;
    const ours = a.valid.pages[page];
    const theirs = b.valid.pages[page];
    if (ours === undefined && theirs === undefined) continue;
    for (let word = 0; word < PAGE_WORDS; word++) {
      for (let rest = (ours?.[word] ?? 0) | (theirs?.[word] ?? 0); rest !== 0; rest &= rest - 1) {
        const ptex = base + word * 32 + lowestBit(rest);
        if (!a.load(ptex, left) || !b.load(ptex, right) || !sameHpte(left, right)) differ(ptex);
      }
    }
  }
  return { count, ptexes };
}

function sameHpte(a: Uint32Array, b: Uint32Array): boolean {
  return a[0] === b[0] && ((a[1]! ^ b[1]!) & ~HPTE_V_PRIVATE) === 0 && a[2] === b[2] && a[3] === b[3];
}

/** Visits every valid entry in ascending order: its HPTE's four words begin at `words[word]`, as they travel. */
export function forEachValid(
  table: HptTable,
  visit: (ptex: number, words: Uint32Array, word: number) => void,
): void {
  for (const [number, page] of table.valid.pages.entries()) {
    if (page === undefined) continue;
    const groups = table.groups[number]!;
    for (let group = nextWord(page, 0); group < PAGE_WORDS; group = nextWord(page, group + 1)) {
      let word = groups.placeOf(group) << 2;
      for (let rest = page[group]!; rest !== 0; rest &= rest - 1, word += 4) {
        visit(number * 65_536 + group * 32 + lowestBit(rest), groups.words, word);
      }
    }
  }
}
