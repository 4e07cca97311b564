import { lowestBit, popcount } from '../hpt/bitmap.js';
import { copyHptes } from '../hpt/groups.js';
import { HPTE_V_BOLTED } from '../hpt/hpte.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian, swapLittleEndian } from '../hpt/wire.js';
import { HEADER_BYTES, MAX_RUN } from './header.js';

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
const ALIGNMENT = 4;

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
  if (table === undefined) {
    state.cursor = 0;
    state.firstPass = false;
    return 0;
  }
  if (buffer.byteOffset % ALIGNMENT === 0) return fill(table, state, buffer);
  const aligned = new Uint8Array(buffer.length);
  const bytes = fill(table, state, aligned);
  buffer.set(aligned.subarray(0, bytes));
  return bytes;
}

function fill(table: HptTable, state: PassState, buffer: Uint8Array): number {
  const { entryCount, valid, dirty } = table;
  const { firstPass, boltedOnly } = state;
  const out = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length >>> 2);
  const first = state.cursor;
  let index = first;
  let bytes = 0;
  while (bytes + RECORD_FLOOR < buffer.length) {
    if (!firstPass && index < entryCount) index = dirty.next(index);
    const start = index;

    const room = Math.min(MAX_RUN, Math.ceil((buffer.length - bytes - HEADER_BYTES) / 16) - 1);
    let word = (bytes + HEADER_BYTES) >>> 2;
    let validCount = 0;
    while (index < entryCount && validCount < room) {
      const bits = valid.pages[index >>> 16]?.[(index & 0xffff) >>> 5] ?? 0;
      let wanted = bits;
      if (boltedOnly) wanted = boltedBits(table, index, bits);
      if (!firstPass) wanted &= dirty.pages[index >>> 16]?.[(index & 0xffff) >>> 5] ?? 0;
      const length = Math.min(runLength(wanted, index & 31), room - validCount);
      if (length === 0) break;
      const rank = popcount(bits & ~(0xffffffff << (index & 31)));
      const address = (table.slots[index >>> 16]![(index & 0xffff) >>> 5]! >>> 3) + rank;
      copyHptes(table.groups.chunks[address >>> 16]!, (address & 0xffff) << 2, out, word, length);
      word += length << 2;
      validCount += length;
      index += length;
      if ((index & 31) !== 0) break;
    }

    const limit = Math.min(entryCount, index + MAX_RUN);
    const invalidFrom = index;
    index = firstPass
      ? nextReported(table, index, limit, boltedOnly)
      : endOfDirtyInvalid(table, index, limit, boltedOnly);
    const invalidCount = Math.max(0, index - invalidFrom);

    if (validCount + invalidCount > 0) {
      out[bytes >>> 2] = swapLittleEndian(start);
      out[(bytes >>> 2) + 1] = swapLittleEndian(validCount | (invalidCount << 16));
      bytes += HEADER_BYTES + (validCount << 4);
    }
    if (index >= entryCount) {
      dirty.deleteRange(Math.min(first, entryCount), entryCount);
      state.cursor = 0;
      state.firstPass = false;
      return bytes;
    }
  }
  dirty.deleteRange(first, index);
  state.cursor = index;
  return bytes;
}

/** Number of bits set without a gap from `bit` up, within the word. */
function runLength(word: number, bit: number): number {
  const clear = ~word >>> bit;
  return clear === 0 ? 32 - bit : Math.min(lowestBit(clear), 32 - bit);
}

/** First entry at or after `from` that a descriptor reports as valid, or `to`. */
function nextReported(table: HptTable, from: number, to: number, boltedOnly: boolean): number {
  let index = from < to ? table.valid.next(from, to) : from;
  while (boltedOnly && index < to && !isBolted(table, index)) index = table.valid.next(index + 1, to);
  return index;
}

/** End of the run of dirty entries from `from` on that a descriptor reports as invalid. */
function endOfDirtyInvalid(table: HptTable, from: number, to: number, boltedOnly: boolean): number {
  let index = from;
  while (index < to) {
    let invalid = table.dirty.pages[index >>> 16]?.[(index & 0xffff) >>> 5] ?? 0;
    const bits = table.valid.pages[index >>> 16]?.[(index & 0xffff) >>> 5] ?? 0;
    invalid &= ~(boltedOnly ? boltedBits(table, index, bits) : bits);
    const length = Math.min(runLength(invalid, index & 31), to - index);
    index += length;
    if (length === 0 || (index & 31) !== 0) break;
  }
  return index;
}

/** Of the valid entries in the group that holds `index`, the bolted ones. */
function boltedBits(table: HptTable, index: number, bits: number): number {
  let bolted = 0;
  const base = index - (index & 31);
  for (let rest = bits; rest !== 0; rest &= rest - 1) {
    const bit = lowestBit(rest);
    if (isBolted(table, base + bit)) bolted |= 1 << bit;
  }
  return bolted;
}

function isBolted(table: HptTable, index: number): boolean {
  const bits = table.valid.pages[index >>> 16]![(index & 0xffff) >>> 5]!;
  const rank = popcount(bits & ~(0xffffffff << (index & 31)));
  const address = (table.slots[index >>> 16]![(index & 0xffff) >>> 5]! >>> 3) + rank;
  return (
    (swapBigEndian(table.groups.chunks[address >>> 16]![((address & 0xffff) << 2) + 1]!) & HPTE_V_BOLTED) !==
    0
  );
}
