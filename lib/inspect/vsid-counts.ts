import { HPTE_V_1TB_HIGH } from '../hpt/hpte-bits.js';

/** Numbers kept of a segment: see {@link COUNT}. */
const STRIDE = 5;
/** Where each number stands. */
export const COUNT = { entries: 0, bytes: 1, bolted: 2, writable: 3, executable: 4 } as const;

/** Segments kept at most: 40 MB. A guest has some per process. */
export const MAX_VSIDS = 2 ** 19;
const FIRST_SLOTS = 1024;

/** Words of a slot's key: B and the upper bits of the VSID, 0 if it is free; the lower bits. */
const KEY_WORDS = 2;

/** A segment, and where in {@link VsidCounts.counts} its numbers begin. */
export interface CountedSegment {
  readonly is1T: boolean;
  readonly vsid: number;
  readonly at: number;
}

/** Counts by segment, in an open hash table that grows up to a bound. */
export class VsidCounts {
  /** Numbers of each segment in the order of appearance; first, those of all segments that found no room. */
  counts = new Float64Array((FIRST_SLOTS / 2 + 1) * STRIDE);
  #slots = FIRST_SLOTS;
  #used = 0;
  // Apart from where counts begin: so more of them are in the caches, where a guest has very many.
  #keys = new Int32Array(FIRST_SLOTS * KEY_WORDS);
  #places = new Int32Array(FIRST_SLOTS);
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
    const slot = this.#slotOf(high, low);
    const at = slot * KEY_WORDS;
    if (keys[at] !== 0) return this.#places[slot]!;
    if (this.#used === MAX_VSIDS) return 0;
    this.#used++;
    keys[at] = high;
    keys[at + 1] = low;
    this.#places[slot] = this.#used * STRIDE;
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
    const places = this.#places;
    this.#slots *= 2;
    this.#keys = new Int32Array(this.#slots * KEY_WORDS);
    this.#places = new Int32Array(this.#slots);
    this.counts = new Float64Array((this.#slots / 2 + 1) * STRIDE);
    this.counts.set(counts);
    for (const [old, place] of places.entries()) {
      if (place === 0) continue;
      const at = old * KEY_WORDS;
      const slot = this.#slotOf(keys[at]!, keys[at + 1]!);
      this.#keys.set(keys.subarray(at, at + KEY_WORDS), slot * KEY_WORDS);
      this.#places[slot] = place;
    }
  }

  /** Every segment that is kept: most entries first, then by VSID, 1T before 256M. */
  sorted(): CountedSegment[] {
    const { counts } = this;
    // By number first, as numbers sort many times as fast as what needs a comparison.
    const numbers = new Float64Array(this.#used);
    let found = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      if (this.#places[slot] !== 0) numbers[found++] = this.#numberOf(slot);
    }
    const segments = Array.from(numbers.sort(), (number) => this.#segmentOf(number));
    return segments.sort((a, b) => counts[b.at + COUNT.entries]! - counts[a.at + COUNT.entries]!);
  }

  /** VSID << 1, and 1 for 256M. */
  #numberOf(slot: number): number {
    const high = this.#keys[slot * KEY_WORDS]!;
    const low = this.#keys[slot * KEY_WORDS + 1]! >>> 0;
    const upper = high & 0x3fffffff;
    if ((high & HPTE_V_1TB_HIGH) !== 0) return (upper * 2 ** 8 + (low >>> 24)) * 2;
    return (upper * 2 ** 20 + (low >>> 12)) * 2 + 1;
  }

  #segmentOf(number: number): CountedSegment {
    const is1T = number % 2 === 0;
    const vsid = Math.floor(number / 2);
    const lowBits = is1T ? 8 : 20;
    const high = Math.floor(vsid / 2 ** lowBits) | (is1T ? HPTE_V_1TB_HIGH : 0) | 0x80000000;
    const low = (vsid % 2 ** lowBits) << (32 - lowBits);
    return { is1T, vsid, at: this.#places[this.#slotOf(high, low)]! };
  }
}

function hash(high: number, low: number): number {
  const mixed = Math.imul(high ^ Math.imul((low >>> 12) ^ (low << 20), 0x85ebca6b), 0xc2b2ae35);
  return mixed ^ (mixed >>> 15);
}
