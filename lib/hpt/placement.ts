import { MAX_STREAM_ORDER, MIN_ORDER, entryCount, ptegCount } from './geometry.js';
import { hasReservedSegment, HPTE_V_1TB_HIGH, HPTE_V_SECONDARY } from './hpte-bits.js';
import { basePageShift } from './page-size.js';

/** Bits of the address that the AVPN leaves out. */
const AVPN_SHIFT = 23;
const GROUP_SHIFT = 7;
const GROUP_BITS = ptegCount(MAX_STREAM_ORDER) - 1;

/**
 * In which bits of its group's number an entry contradicts its own address. It is where its hash wants it in a table whose
 * groups have none of them: of order 18 with bits from 11 on.
 *
 * @param ptex below 2^32
 * @returns -1 for an entry that no kernel accepts: its segment size or LP code is reserved, or its page larger than its segment
 */
export function misplacedBits(ptex: number, vHigh: number, vLow: number, rLow: number): number {
  const pageShift = basePageShift(vLow, rLow);
  const is1T = (vHigh & HPTE_V_1TB_HIGH) !== 0;
  if (pageShift === 0 || hasReservedSegment(vHigh) || (pageShift === 34 && !is1T)) return -1;
  const vsidLow = is1T ? (vHigh << 8) | (vLow >>> 24) : (vHigh << 20) | (vLow >>> 12);
  const segmentHash = is1T ? vsidLow ^ (vsidLow << 25) : vsidLow;
  const upperOffset = (vLow >>> 7) & (is1T ? 0x1ffff : 0x1f);
  const group = ptex >>> 3;
  // The complement has, in any table, the bits of the last group less this one.
  const hashed = (vLow & HPTE_V_SECONDARY) === 0 ? group : ~group;
  if (pageShift > AVPN_SHIFT) {
    return (segmentHash ^ (upperOffset >>> (pageShift - AVPN_SHIFT)) ^ hashed) & GROUP_BITS;
  }
  const free = AVPN_SHIFT - pageShift;
  return (segmentHash ^ (upperOffset << free) ^ hashed) & GROUP_BITS & (-1 << free);
}

/** The orders that a table can have, of which only entries are known. */
export class PossibleOrders {
  #last = 0;
  #misplaced = 0;

  /** Takes a valid entry. */
  add(ptex: number, vHigh: number, vLow: number, rLow: number): void {
    this.#last = Math.max(this.#last, ptex);
    const bits = misplacedBits(ptex, vHigh, vLow, rLow);
    if (bits > 0) this.#misplaced |= bits;
  }

  /** The smallest that has all entries. */
  get smallest(): number {
    let order = MIN_ORDER;
    while (entryCount(order) <= this.#last) order++;
    return order;
  }

  /** The largest in which each entry is where its hash wants it; below the smallest if some are so in none. */
  get largest(): number {
    if (this.#misplaced === 0) return MAX_STREAM_ORDER;
    return GROUP_SHIFT + 31 - Math.clz32(this.#misplaced & -this.#misplaced);
  }
}
