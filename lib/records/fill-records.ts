import { type BitmapBlock, BLOCK_BITS, BLOCK_WORDS, popcount } from '../hpt/bitmap.js';
import { HPTE_V_BOLTED } from '../hpt/hpte-bits.js';
import { copyHptes } from '../hpt/copy-hptes.js';
import type { PackedBlock } from '../hpt/packed-block.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import { RecordWriter } from './record-writer.js';

/** State of a read descriptor between reads (kernel-abi.md 2.2). */
export interface PassState {
  /** ptex at which the next read begins; may lie beyond the table's end. */
  cursor: number;
  /** In the first pass every entry is reported, afterwards only those marked dirty. */
  firstPass: boolean;
  /** Report entries that are not bolted as invalid (kernel-abi.md 2.6). */
  readonly boltedOnly: boolean;
}

/** Entry and header bytes that must be free for another record, and one byte that is never used (kernel-abi.md 2.3). */
const RECORD_FLOOR = 24;
const SUMMARY_WORDS = BLOCK_WORDS / 32;
/** Entries of blocks that are gone through at once: their numbers are counted in 31 bits. */
const MAX_STRETCH = 0x4000 * BLOCK_BITS;
/** A block of a bitmap with no bit set. */
const CLEAR: BitmapBlock = new Uint32Array(BLOCK_WORDS + BLOCK_WORDS / 32);

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
    const block = index >>> 16;
    const blockStart = block * BLOCK_BITS;
    const stretch = (firstPass ? table.valid : table.dirty).nextBlock(block) - block;
    const to = Math.min(Math.max(stretch, 1) * BLOCK_BITS, end - blockStart, MAX_STRETCH);
    const scope = { block, from: index - blockStart, to, boltedOnly };
    const reached = firstPass
      ? fillFromBlock(table, writer, scope)
      : fillFromDirtyBlock(table, writer, scope);
    index = blockStart + reached;
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

/** Which entries of a table to look at: `from` up to but without `to`, counted from the block's first. */
interface BlockScope {
  readonly block: number;
  readonly from: number;
  readonly to: number;
  readonly boltedOnly: boolean;
}

/**
 * Reports the entries `from` up to but without `to` of a block, all of them; `to` may lie beyond the block if no entry up
 * to there is valid.
 *
 * The loops here and in {@link fillFromDirtyBlock} are the cost of a pass. What looks roundabout in them keeps V8 from more work:
 * `| 0` and flags that are numbers let it hold everything as 32-bit integers (a tenth of the time), it compares an
 * imported function with the one that it inlined at every call (a twentieth), hence no `lowestBit`, and the writer's
 * state is in local variables (a seventh).
 *
 * @returns the entry at which the buffer was full, `to` if it was not
 */
function fillFromBlock(table: HptTable, writer: RecordWriter, scope: BlockScope): number {
  const { block, from, to } = scope;
  const boltedOnly = scope.boltedOnly ? 1 : 0;
  const bits = table.valid.blocks[block] ?? CLEAR;
  const packed = table.blocks[block];
  const { words, longs, limit } = writer;
  let { position, header, counts } = writer;
  const base = block << 16;
  let entry = from | 0;
  const summaryWords = packed === undefined ? 0 : SUMMARY_WORDS;
  for (let summaryWord = entry >>> 10; summaryWord < summaryWords; summaryWord++) {
    for (let left = bits[BLOCK_WORDS + summaryWord]! | 0; left !== 0; left &= left - 1) {
      const word = (summaryWord << 5) + 31 - Math.clz32(left & -left);
      const wordStart = word << 5;
      const held = bits[word]! | 0;
      let present = boltedOnly !== 0 ? boltedBits(packed!, word, held) : held;
      if (wordStart < entry) {
        if (wordStart + 32 <= entry) continue;
        present &= -1 << (entry & 31);
      }
      const allPresent = present === held;
      const firstPlace = packed!.placeOf(word) | 0;
      // The word's only entry, as most are in a sparse table: without a search for runs it takes a fifth less.
      if (allPresent && (held & (held - 1)) === 0) {
        const run = (wordStart + 31 - Math.clz32(held)) | 0;
        const gap = (run - entry) | 0;
        if (gap > 0 && gap <= 0xffff - (counts >>> 16) && position + 6 <= limit) {
          words[header + 1] = counts + (gap << 16);
          words[position] = base + run;
          words[position + 1] = 1;
          longs[(position + 2) >>> 1] = packed!.longs[firstPlace << 1]!;
          longs[(position + 4) >>> 1] = packed!.longs[(firstPlace << 1) + 1]!;
          header = position;
          counts = 1;
          position = (position + 6) | 0;
          entry = (run + 1) | 0;
          continue;
        }
      }
      let place = firstPlace;
      for (let rest = present; rest !== 0;) {
        const bit = 31 - Math.clz32(rest & -rest);
        let count = ones(rest >>> bit);
        rest &= -2 << (bit + count - 1);
        if (count === 32 && boltedOnly === 0) count += packed!.fullAfter(word) << 5;
        if (!allPresent) place = (firstPlace + popcount(held & ~(-1 << bit))) | 0;
        const run = (wordStart + bit) | 0;
        const gap = (run - entry) | 0;
        const next = (position + 2 + (count << 2)) | 0;
        if (gap > 0 && gap <= 0xffff - (counts >>> 16) && count <= 0xffff && next <= limit) {
          // The open record takes the gap, the next one the run.
          words[header + 1] = counts + (gap << 16);
          words[position] = base + run;
          words[position + 1] = count;
          copyHptes(packed!.longs, place << 1, longs, (position + 2) >>> 1, count);
          header = position;
          counts = count;
          position = next;
        } else {
          writer.restore(position, header, counts);
          entry += writer.invalid((base + entry) | 0, gap);
          if (entry < run) return entry;
          const done = writer.valid((base + run) | 0, count, packed!, place);
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
 * Reports those of the entries `from` up to but without `to` of a block that are marked dirty; `to` may lie beyond the
 * block if none up to there is.
 *
 * @returns the entry at which the buffer was full, `to` if it was not
 */
function fillFromDirtyBlock(table: HptTable, writer: RecordWriter, scope: BlockScope): number {
  const { block, from, to } = scope;
  const boltedOnly = scope.boltedOnly ? 1 : 0;
  const bits = table.valid.blocks[block] ?? CLEAR;
  const marks = table.dirty.blocks[block];
  const packed = table.blocks[block];
  const { words, longs, limit } = writer;
  let { position, header, counts } = writer;
  const base = block << 16;
  let entry = from | 0;
  const summaryWords = marks === undefined ? 0 : SUMMARY_WORDS;
  for (let summaryWord = entry >>> 10; summaryWord < summaryWords; summaryWord++) {
    for (let left = marks![BLOCK_WORDS + summaryWord]! | 0; left !== 0; left &= left - 1) {
      const word = (summaryWord << 5) + 31 - Math.clz32(left & -left);
      const wordStart = word << 5;
      let rest = marks![word]! | 0;
      if (wordStart < entry) {
        if (wordStart + 32 <= entry) continue;
        rest &= -1 << (entry & 31);
      }
      const held = bits[word]! | 0;
      const present = rest & (boltedOnly !== 0 && held !== 0 ? boltedBits(packed!, word, held) : held);
      const absent = rest & ~present;
      const firstPlace = present === 0 ? 0 : packed!.placeOf(word) | 0;
      while (rest !== 0) {
        const bit = 31 - Math.clz32(rest & -rest);
        const valid = ones(present >>> bit);
        const invalid = bit + valid < 32 ? ones(absent >>> (bit + valid)) : 0;
        const length = (valid + invalid) | 0;
        rest &= -2 << (bit + length - 1);
        const place = (firstPlace + popcount(held & ~(-1 << bit))) | 0;
        const run = (wordStart + bit) | 0;
        const next = (position + 2 + (valid << 2)) | 0;
        if (entry < run && position + 6 <= limit && next <= limit) {
          // A record of its own: there is room for a header and an HPTE, as the kernel asks first, and for all of its own.
          header = position;
          counts = valid | (invalid << 16);
          words[position] = base + run;
          words[position + 1] = counts;
          if (valid !== 0) copyHptes(packed!.longs, place << 1, longs, (position + 2) >>> 1, valid);
          position = next;
        } else {
          writer.restore(position, header, counts);
          if (entry < run && !writer.close()) return entry;
          const done = valid === 0 ? 0 : writer.valid((base + run) | 0, valid, packed!, place);
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

/** Of the valid entries in a word, the bolted ones. */
function boltedBits(packed: PackedBlock, word: number, held: number): number {
  let bolted = 0;
  let at = (packed.placeOf(word) << 2) + 1;
  for (let rest = held; rest !== 0; rest &= rest - 1, at += 4) {
    if ((swapBigEndian(packed.words[at]!) & HPTE_V_BOLTED) !== 0) bolted |= rest & -rest;
  }
  return bolted;
}
