import { HPTE_V_1TB_HIGH } from '../hpt/hpte-bits.js';

/** Numbers kept of a segment: see {@link COUNT}. */
const STRIDE = 5;
/** Where each number stands. */
export const COUNT = { entries: 0, bytes: 1, bolted: 2, writable: 3, executable: 4 } as const;

/** Segments kept at most: 40 MB. A guest has some per process. */
export const MAX_VSIDS = 2 ** 19;
const FIRST_SLOTS = 1024;

/** Words of a slot: B and the upper bits of the VSID, 0 if it is free; the lower bits; where the counts begin. */
const KEY_WORDS = 4;

/** Counts by segment, in an open hash table that grows up to a bound. */
export class VsidCounts {
  /** Numbers of each segment in the order of appearance; first, those of all segments that found no room. */
  counts = new Float64Array((FIRST_SLOTS / 2 + 1) * STRIDE);
  #slots = FIRST_SLOTS;
  #used = 0;
  #keys = new Int32Array(FIRST_SLOTS * KEY_WORDS);
  #lastHigh = 0;
  #lastLow = 0;
  #lastAt = 0;

  /** Where in {@link counts} the numbers of an entry's segment begin. */
  at(vHigh: number, vLow: number): number {
    // Bit 31 is clear in every entry that has a segment.
    const high = vHigh | 0x80000000;
    const low = vLow & ((vHigh & HPTE_V_1TB_HIGH) === 0 ? 0xfffff000 : 0xff000000);
    if (high === this.#lastHigh && low === this.#lastLow) return this.#lastAt;
    this.#lastAt = this.#find(high, low);
    this.#lastHigh = high;
    this.#lastLow = low;
    return this.#lastAt;
  }

  #find(high: number, low: number): number {
    const keys = this.#keys;
    const at = this.#slotOf(high, low) * KEY_WORDS;
    if (keys[at] !== 0) return keys[at + 2]!;
    if (this.#used === MAX_VSIDS) return 0;
    this.#used++;
    keys[at] = high;
    keys[at + 1] = low;
    keys[at + 2] = this.#used * STRIDE;
    // Half of the slots stay free.
    if (this.#used * 2 === this.#slots && this.#used < MAX_VSIDS) this.#grow();
    return this.#used * STRIDE;
  }

  /** The slot of a segment, or the free one where it belongs. */
  #slotOf(high: number, low: number): number {
    const keys = this.#keys;
    const mask = this.#slots - 1;
    let slot = hash(high, low) & mask;
    for (let at = slot * KEY_WORDS; keys[at] !== 0; at = slot * KEY_WORDS) {
      if (keys[at] === high && keys[at + 1] === low) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(): void {
    const { counts } = this;
    const keys = this.#keys;
    this.#slots *= 2;
    this.#keys = new Int32Array(this.#slots * KEY_WORDS);
    this.counts = new Float64Array((this.#slots / 2 + 1) * STRIDE);
    this.counts.set(counts);
    for (let at = 0; at < keys.length; at += KEY_WORDS) {
      if (keys[at] === 0) continue;
      const slot = this.#slotOf(keys[at]!, keys[at + 1]!);
      this.#keys.set(keys.subarray(at, at + KEY_WORDS), slot * KEY_WORDS);
    }
  }

  /** Visits every segment that is kept, and at last what found no room, without a segment. */
  forEach(visit: (at: number, segment: { is1T: boolean; vsid: number } | undefined) => void): void {
    const keys = this.#keys;
    for (let slot = 0; slot < keys.length; slot += KEY_WORDS) {
      const high = keys[slot]!;
      const low = keys[slot + 1]! >>> 0;
      if (high === 0) continue;
      const is1T = (high & HPTE_V_1TB_HIGH) !== 0;
      const upper = high & 0x3fffffff;
      const vsid = is1T ? upper * 2 ** 8 + (low >>> 24) : upper * 2 ** 20 + (low >>> 12);
      visit(keys[slot + 2]!, { is1T, vsid });
    }
    visit(0, undefined);
  }
}

function hash(high: number, low: number): number {
  const mixed = Math.imul(high ^ Math.imul((low >>> 12) ^ (low << 20), 0x85ebca6b), 0xc2b2ae35);
  return mixed ^ (mixed >>> 15);
}
