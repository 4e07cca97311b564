import { type BitmapPage, type SparseBitmap, PAGE_BITS, PAGE_WORDS, popcount } from '../hpt/bitmap.js';
import type { PageGroups } from '../hpt/groups.js';
import { HPTE_V_BOLTED } from '../hpt/hpte.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian } from '../hpt/wire.js';
import { RecordWriter } from './record-writer.js';

/** What a read descriptor remembers between reads (kernel-abi.md 2.2). */
export interface PassState {
  /** ptex at which the next read begins; may lie behind the table's end. */
  cursor: number;
  /** In the first pass every entry is reported, afterwards only those marked dirty. */
  firstPass: boolean;
  /** Report entries that are not bolted as invalid (kernel-abi.md 2.6). */
  readonly boltedOnly: boolean;
}

/** Entry and header bytes that must be free for another record, and one byte that is never used (kernel-abi.md 2.3). */
const RECORD_FLOOR = 24;
const SUMMARY_WORDS = PAGE_WORDS / 32;
/** A page of a bitmap with no bit set. */
const CLEAR: BitmapPage = new Uint32Array(PAGE_WORDS + PAGE_WORDS / 32);

/**
 * One read(2) of a table as the kernel does it: fills the buffer with whole records from the cursor on, takes the dirty
 * marks of all entries it passes, and stops at the table's end at the latest (kernel-abi.md 2.3).
 *
 * Headers are little-endian, as on every supported host.
 *
 * @param table undefined stands for a VM without one: nothing to read, but the first pass is over (kernel-abi.md 2.4)
 * @returns bytes written; 0 with a buffer of 24 bytes or fewer, or if nothing is dirty up to the table's end
 */
export function fillRecords(table: HptTable | undefined, state: PassState, buffer: Uint8Array): number {
  if (buffer.length <= RECORD_FLOOR) return 0;
  const end = table?.entryCount ?? 0;
  const from = Math.min(state.cursor, end);
  const writer = new RecordWriter(buffer);
  let index = from;
  while (table !== undefined && index < end) {
    const page = index >>> 16;
    const pageStart = page * PAGE_BITS;
    const stretch = emptyPages(state.firstPass ? table.valid : table.dirty, page);
    const to = Math.min(Math.max(stretch, 1) * PAGE_BITS, end - pageStart);
    const reached = fillPage(table, state, writer, page, index - pageStart, to);
    index = pageStart + reached;
    if (reached < to) break;
  }
  table?.dirty.deleteRange(from, index);
  state.cursor = index;
  if (index === end) {
    state.cursor = 0;
    state.firstPass = false;
  }
  return writer.finish();
}

/** Number of pages from `page` on in which no bit was ever set; so many that their entries can be counted in 31 bits. */
function emptyPages({ pages }: SparseBitmap, page: number): number {
  const limit = Math.min(pages.length, page + 0x4000);
  let next = page;
  while (next < limit && pages[next] === undefined) next++;
  return next - page;
}

/**
 * Reports the entries `from` up to but without `to` of a page; `to` may lie beyond it if nothing is to be found up to there.
 *
 * The loops here are the cost of a pass. What looks roundabout in them keeps V8 from more work: `| 0` and flags that
 * are numbers let it hold everything as 32-bit integers (a tenth of the time), and it compares an imported function
 * with the one that it inlined at every call (a twentieth), hence no `lowestBit`.
 *
 * @returns the entry at which the buffer was full, `to` if it was not
 */
function fillPage(
  table: HptTable,
  state: PassState,
  writer: RecordWriter,
  page: number,
  from: number,
  to: number,
): number {
  const firstPass = state.firstPass ? 1 : 0;
  const boltedOnly = state.boltedOnly ? 1 : 0;
  const bits = table.valid.pages[page] ?? CLEAR;
  const marks = table.dirty.pages[page] ?? CLEAR;
  const groups = table.groups[page];
  // Groups to look at: those with valid entries, in later passes those with marks.
  const summary = firstPass !== 0 ? bits : marks;
  const base = page << 16;
  let entry = from | 0;
  // In later passes: where the invalid entries end that begin at `entry` and are not yet reported.
  let gapEnd = entry;
  const blocks = summary === CLEAR ? 0 : SUMMARY_WORDS;
  for (let block = entry >>> 10; block < blocks; block++) {
    for (let left = summary[PAGE_WORDS + block]! | 0; left !== 0; left &= left - 1) {
      const group = (block << 5) + 31 - Math.clz32(left & -left);
      const groupStart = group << 5;
      const held = bits[group]! | 0;
      let present = boltedOnly !== 0 && held !== 0 ? boltedBits(groups!, group, held) : held;
      let absent = 0;
      if (firstPass === 0) {
        absent = marks[group]! & ~present;
        present &= marks[group]! | 0;
      }
      if (groupStart < entry) {
        if (groupStart + 32 <= entry) continue;
        present &= -1 << (entry & 31);
        absent &= -1 << (entry & 31);
      }
      const allPresent = present === held;
      const firstPlace = present === 0 ? 0 : groups!.placeOf(group) | 0;
      let place = firstPlace;
      for (let rest = present | absent; rest !== 0;) {
        let bit = 31 - Math.clz32(rest & -rest);
        if (firstPass === 0) {
          const first = groupStart + bit;
          if (gapEnd < first) {
            if (entry < gapEnd) entry += writer.report((base + entry) | 0, gapEnd - entry, 0, groups, 0);
            if (entry < gapEnd || !writer.close()) return entry;
            entry = first;
          }
          bit += ones(absent >>> bit);
          gapEnd = groupStart + bit;
        }
        let count = bit < 32 ? ones(present >>> bit) : 0;
        if (count > 0) {
          if (count === 32 && firstPass !== 0 && boltedOnly === 0) count += groups!.fullAfter(group) << 5;
          if (!allPresent) place = (firstPlace + popcount(held & ~(-1 << bit))) | 0;
          const length = (groupStart + bit + count - entry) | 0;
          const done = writer.report((base + entry) | 0, length - count, count, groups, place);
          entry = (entry + done) | 0;
          if (done < length) return entry;
          place += count;
          gapEnd = entry;
        }
        rest &= -2 << (bit + count - 1);
      }
    }
  }
  if (firstPass !== 0) gapEnd = to;
  if (entry < gapEnd) entry += writer.report((base + entry) | 0, gapEnd - entry, 0, groups, 0);
  if (entry < gapEnd || (entry < to && !writer.close())) return entry;
  return to;
}

/** Number of bits set without a gap from bit 0 on. */
function ones(word: number): number {
  return 32 - Math.clz32((~word & (word + 1)) - 1);
}

/** Of the valid entries in a group, the bolted ones. */
function boltedBits(groups: PageGroups, group: number, held: number): number {
  let bolted = 0;
  let word = (groups.placeOf(group) << 2) + 1;
  for (let rest = held; rest !== 0; rest &= rest - 1, word += 4) {
    if ((swapBigEndian(groups.words[word]!) & HPTE_V_BOLTED) !== 0) bolted |= rest & -rest;
  }
  return bolted;
}
