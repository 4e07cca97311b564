import { type BitmapPage, PAGE_BITS, PAGE_WORDS, popcount } from '../hpt/bitmap.js';
import { HPTE_V_BOLTED } from '../hpt/hpte.js';
import { copyHptes } from '../hpt/copy-hptes.js';
import type { PageGroups } from '../hpt/groups.js';
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
/** Entries of pages that are gone through at once: their numbers are counted in 31 bits. */
const MAX_STRETCH = 0x4000 * PAGE_BITS;
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
  const { firstPass, boltedOnly } = state;
  const writer = new RecordWriter(buffer);
  let index = from;
  while (table !== undefined && index < end) {
    const page = index >>> 16;
    const pageStart = page * PAGE_BITS;
    const stretch = (firstPass ? table.valid : table.dirty).nextPage(page) - page;
    const to = Math.min(Math.max(stretch, 1) * PAGE_BITS, end - pageStart, MAX_STRETCH);
    const scope = { page, from: index - pageStart, to, boltedOnly };
    const reached = firstPass ? firstPage(table, writer, scope) : laterPage(table, writer, scope);
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

/** Which entries of a table to look at: `from` up to but without `to`, counted from the page's first. */
interface PageScope {
  readonly page: number;
  readonly from: number;
  readonly to: number;
  readonly boltedOnly: boolean;
}

/**
 * Reports the entries `from` up to but without `to` of a page, all of them; `to` may lie beyond the page if no entry up
 * to there is valid.
 *
 * The loops here and in {@link laterPage} are the cost of a pass. What looks roundabout in them keeps V8 from more work:
 * `| 0` and flags that are numbers let it hold everything as 32-bit integers (a tenth of the time), it compares an
 * imported function with the one that it inlined at every call (a twentieth), hence no `lowestBit`, and the writer's
 * state is in local variables (a seventh).
 *
 * @returns the entry at which the buffer was full, `to` if it was not
 */
function firstPage(table: HptTable, writer: RecordWriter, scope: PageScope): number {
  const { page, from, to } = scope;
  const boltedOnly = scope.boltedOnly ? 1 : 0;
  const bits = table.valid.pages[page] ?? CLEAR;
  const groups = table.groups[page];
  const { words, longs, limit } = writer;
  let { position, header, counts } = writer;
  const base = page << 16;
  let entry = from | 0;
  const blocks = groups === undefined ? 0 : SUMMARY_WORDS;
  for (let block = entry >>> 10; block < blocks; block++) {
    for (let left = bits[PAGE_WORDS + block]! | 0; left !== 0; left &= left - 1) {
      const group = (block << 5) + 31 - Math.clz32(left & -left);
      const groupStart = group << 5;
      const held = bits[group]! | 0;
      let present = boltedOnly !== 0 ? boltedBits(groups!, group, held) : held;
      if (groupStart < entry) {
        if (groupStart + 32 <= entry) continue;
        present &= -1 << (entry & 31);
      }
      const allPresent = present === held;
      const firstPlace = groups!.placeOf(group) | 0;
      let place = firstPlace;
      for (let rest = present; rest !== 0;) {
        const bit = 31 - Math.clz32(rest & -rest);
        let count = ones(rest >>> bit);
        rest &= -2 << (bit + count - 1);
        if (count === 32 && boltedOnly === 0) count += groups!.fullAfter(group) << 5;
        if (!allPresent) place = (firstPlace + popcount(held & ~(-1 << bit))) | 0;
        const run = (groupStart + bit) | 0;
        const gap = (run - entry) | 0;
        const next = (position + 2 + (count << 2)) | 0;
        if (gap > 0 && gap <= 0xffff - (counts >>> 16) && count <= 0xffff && next <= limit) {
          // The record at hand takes the gap, the next one the run.
          words[header + 1] = counts + (gap << 16);
          words[position] = base + run;
          words[position + 1] = count;
          copyHptes(groups!.longs, place << 1, longs, (position + 2) >>> 1, count);
          header = position;
          counts = count;
          position = next;
        } else {
          writer.restore(position, header, counts);
          entry += writer.invalid((base + entry) | 0, gap);
          if (entry < run) return entry;
          const done = writer.valid((base + run) | 0, count, groups!, place);
          if (done < count) return run + done;
          ({ position, header, counts } = writer);
        }
        entry = (run + count) | 0;
        place += count;
      }
    }
  }
  writer.restore(position, header, counts);
  return entry + writer.invalid((base + entry) | 0, to - entry);
}

/**
 * Reports those of the entries `from` up to but without `to` of a page that are marked dirty; `to` may lie beyond the
 * page if none up to there is.
 *
 * @returns the entry at which the buffer was full, `to` if it was not
 */
function laterPage(table: HptTable, writer: RecordWriter, scope: PageScope): number {
  const { page, from, to } = scope;
  const boltedOnly = scope.boltedOnly ? 1 : 0;
  const bits = table.valid.pages[page] ?? CLEAR;
  const marks = table.dirty.pages[page];
  const groups = table.groups[page];
  const { words, longs, limit } = writer;
  let { position, header, counts } = writer;
  const base = page << 16;
  let entry = from | 0;
  const blocks = marks === undefined ? 0 : SUMMARY_WORDS;
  for (let block = entry >>> 10; block < blocks; block++) {
    for (let left = marks![PAGE_WORDS + block]! | 0; left !== 0; left &= left - 1) {
      const group = (block << 5) + 31 - Math.clz32(left & -left);
      const groupStart = group << 5;
      let rest = marks![group]! | 0;
      if (groupStart < entry) {
        if (groupStart + 32 <= entry) continue;
        rest &= -1 << (entry & 31);
      }
      const held = bits[group]! | 0;
      const present = rest & (boltedOnly !== 0 && held !== 0 ? boltedBits(groups!, group, held) : held);
      const absent = rest & ~present;
      const firstPlace = present === 0 ? 0 : groups!.placeOf(group) | 0;
      while (rest !== 0) {
        const bit = 31 - Math.clz32(rest & -rest);
        const valid = ones(present >>> bit);
        const invalid = bit + valid < 32 ? ones(absent >>> (bit + valid)) : 0;
        const length = (valid + invalid) | 0;
        rest &= -2 << (bit + length - 1);
        const place = (firstPlace + popcount(held & ~(-1 << bit))) | 0;
        const run = (groupStart + bit) | 0;
        const next = (position + 2 + (valid << 2)) | 0;
        if (entry < run && position + 6 <= limit && next <= limit) {
          // A record of its own: there is room for a header and an HPTE, as the kernel asks first, and for all of its own.
          header = position;
          counts = valid | (invalid << 16);
          words[position] = base + run;
          words[position + 1] = counts;
          if (valid !== 0) copyHptes(groups!.longs, place << 1, longs, (position + 2) >>> 1, valid);
          position = next;
        } else {
          writer.restore(position, header, counts);
          if (entry < run && !writer.close()) return entry;
          const done = valid === 0 ? 0 : writer.valid((base + run) | 0, valid, groups!, place);
          if (done < valid) return run + done;
          entry = run + valid + writer.invalid((base + run + valid) | 0, invalid);
          if (entry < run + length) return entry;
          ({ position, header, counts } = writer);
        }
        entry = (run + length) | 0;
      }
    }
  }
  writer.restore(position, header, counts);
  return entry < to && !writer.close() ? entry : to;
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
