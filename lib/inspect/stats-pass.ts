import { BLOCK_WORDS, lowestBit, nextWord, popcount } from '../hpt/bitmap.js';
import { HPTES_PER_GROUP, ptegCount } from '../hpt/geometry.js';
import { HPTE_V_1TB_HIGH, HPTE_V_SECONDARY, hasReservedSegment } from '../hpt/hpte-bits.js';
import type { HptTable } from '../hpt/table.js';
import { ACTUAL_SHIFTS, BASE_SHIFTS, PAGE_MASKS, SIZE_CODES, sizeCode } from './page-sizes.js';
import { COUNT, VsidCounts } from './vsid-counts.js';

/** Bits of the address that the AVPN leaves out. */
const AVPN_SHIFT = 23;
const FULL_GROUP = 0xff;
/** Where the page protection lets the kernel or a program store: 0, 1 and 2 (kernel-abi.md 7). */
const WRITABLE = 0b111;

const PAGE_BYTES = Float64Array.from(ACTUAL_SHIFTS, (shift) => 2 ** shift);

/**
 * Counts all that is valid in a table, in one walk over its memory. Nothing is made per entry: fields are counted as raw bits,
 * which {@link tableStats} takes apart afterwards.
 */
export class StatsPass {
  /** Groups by number of valid entries. */
  readonly occupancy = new Float64Array(HPTES_PER_GROUP + 1);
  /** Entries by B << 5 | the low 5 bits of v. */
  readonly flags = new Float64Array(128);
  /** Entries by pp0 << 12 | the low 12 bits of r. */
  readonly attributes = new Float64Array(8192);
  /** Entries by storage key. */
  readonly keys = new Float64Array(32);
  /** Readable entries by {@link sizeCode}. */
  readonly sizes = new Float64Array(SIZE_CODES);
  readonly vsids = new VsidCounts();
  /** Entries whose group and its complement are both full. */
  cornered = 0;
  /** Entries with a reserved B or LP code. */
  unreadable = 0;
  misplaced = 0;
  doubled = 0;

  readonly #table: HptTable;
  readonly #lastGroup: number;
  /** Of each entry of the group at hand: vHigh, the bits of vLow that are its page's, base page shift; 0 if misplaced. */
  readonly #group = new Int32Array(HPTES_PER_GROUP * 3);
  readonly #other = new Uint32Array(4);

  constructor(table: HptTable) {
    this.#table = table;
    this.#lastGroup = ptegCount(table.order) - 1;
    const { blocks } = table.valid;
    for (
      let block = table.valid.nextBlock(0);
      block < blocks.length;
      block = table.valid.nextBlock(block + 1)
    ) {
      const bits = blocks[block]!;
      for (let word = nextWord(bits, 0); word < BLOCK_WORDS; word = nextWord(bits, word + 1)) {
        this.#countWord(block, word, bits[word]!);
      }
    }
    const occupied = this.occupancy.reduce((sum, groups) => sum + groups, 0);
    this.occupancy[0] = ptegCount(table.order) - occupied;
  }

  #countWord(block: number, word: number, bits: number): void {
    const packed = this.#table.blocks[block]!;
    const { view } = packed;
    let byte = packed.placeOf(word) << 4;
    for (let rest = bits; rest !== 0;) {
      const slot = lowestBit(rest) & 0x18;
      const held = popcount((rest >>> slot) & 0xff);
      rest &= ~(0xff << slot);
      const group = (block << 13) | (word << 2) | (slot >>> 3);
      this.occupancy[held]!++;
      if (held === HPTES_PER_GROUP && this.#isFull(this.#lastGroup - group)) this.cornered += HPTES_PER_GROUP;
      for (let entry = 0; entry < held; entry++, byte += 16) this.#countEntry(view, byte, group, entry);
    }
  }

  #countEntry(view: DataView, byte: number, group: number, entry: number): void {
    const vHigh = view.getUint32(byte) | 0;
    const vLow = view.getUint32(byte + 4) | 0;
    const rHigh = view.getUint32(byte + 8) | 0;
    const rLow = view.getUint32(byte + 12) | 0;
    this.flags[(vLow & 0x1f) | ((vHigh >>> 30) << 5)]!++;
    this.attributes[(rLow & 0xfff) | ((rHigh >>> 31) << 12)]!++;
    this.keys[((rHigh >>> 25) & 0x18) | ((rLow >>> 9) & 7)]!++;
    const code = sizeCode(vLow, rLow);
    const pageShift = BASE_SHIFTS[code]!;
    const scratch = entry * 3;
    this.#group[scratch + 2] = 0;
    if (pageShift === 0 || hasReservedSegment(vHigh)) {
      this.unreadable++;
      return;
    }
    this.sizes[code]!++;
    const at = this.vsids.at(vHigh, vLow);
    const { counts } = this.vsids;
    const pp = (rLow & 3) | ((rHigh >>> 29) & 4);
    counts[at + COUNT.entries]!++;
    counts[at + COUNT.bytes]! += PAGE_BYTES[code]!;
    counts[at + COUNT.bolted]! += (vLow >>> 4) & 1;
    counts[at + COUNT.writable]! += (WRITABLE >>> pp) & 1;
    counts[at + COUNT.executable]! += (rLow & 0xc) === 0 ? 1 : 0;
    if (!this.#isPlaced(vHigh, vLow, pageShift, group)) {
      this.misplaced++;
      return;
    }
    this.#group[scratch] = vHigh;
    this.#group[scratch + 1] = vLow & PAGE_MASKS[code]!;
    this.#group[scratch + 2] = pageShift;
    if (this.#isDouble(entry, group)) this.doubled++;
  }

  /** Whether the page can have its entry in this group: all bits of its hash that the group does not add agree. */
  #isPlaced(vHigh: number, vLow: number, pageShift: number, group: number): boolean {
    const is1T = (vHigh & HPTE_V_1TB_HIGH) !== 0;
    if (pageShift === 34 && !is1T) return false;
    const vsidLow = is1T ? (vHigh << 8) | (vLow >>> 24) : (vHigh << 20) | (vLow >>> 12);
    const segmentHash = is1T ? vsidLow ^ (vsidLow << 25) : vsidLow;
    const upperOffset = (vLow >>> 7) & (is1T ? 0x1ffff : 0x1f);
    const hashed = (vLow & HPTE_V_SECONDARY) === 0 ? group : this.#lastGroup - group;
    if (pageShift > AVPN_SHIFT) {
      return ((segmentHash ^ (upperOffset >>> (pageShift - AVPN_SHIFT)) ^ hashed) & this.#lastGroup) === 0;
    }
    const free = AVPN_SHIFT - pageShift;
    return ((segmentHash ^ (upperOffset << free) ^ hashed) & this.#lastGroup) >>> free === 0;
  }

  /** Whether an entry before it in the group, or the other hash's group, maps the same page. */
  #isDouble(entry: number, group: number): boolean {
    const entries = this.#group;
    const vHigh = entries[entry * 3]!;
    const page = entries[entry * 3 + 1]!;
    const pageShift = entries[entry * 3 + 2]!;
    for (let at = 0; at < entry * 3; at += 3) {
      if (entries[at + 1] === page && entries[at] === vHigh && entries[at + 2] === pageShift) return true;
    }
    if ((page & HPTE_V_SECONDARY) === 0) return false;
    const first = (this.#lastGroup - group) * HPTES_PER_GROUP;
    for (let ptex = first; ptex < first + HPTES_PER_GROUP; ptex++) {
      if (this.#table.load(ptex, this.#other) && this.#isOther(vHigh, page, pageShift)) return true;
    }
    return false;
  }

  /** Whether the other group's entry is the primary one of this page. */
  #isOther(vHigh: number, page: number, pageShift: number): boolean {
    const vLow = this.#other[1]!;
    const code = sizeCode(vLow, this.#other[3]!);
    return (
      BASE_SHIFTS[code] === pageShift &&
      (vLow & PAGE_MASKS[code]!) === (page & ~HPTE_V_SECONDARY) &&
      (this.#other[0]! | 0) === vHigh
    );
  }

  #isFull(group: number): boolean {
    const first = group * HPTES_PER_GROUP;
    return ((this.#table.valid.word(first) >>> (first & 31)) & 0xff) === FULL_GROUP;
  }
}
