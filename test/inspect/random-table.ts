import { encodeAvpn, hashPage, primaryGroup, secondaryGroup, type VirtualPage } from '../../lib/hpt/hash.js';
import { encodeHpte } from '../../lib/hpt/hpte.js';
import type { PageShift } from '../../lib/hpt/page-size.js';
import { HptTable } from '../../lib/hpt/table.js';
import { SeededRandom } from '../../lib/base/random.js';

const SIZES: readonly (readonly [base: PageShift, actual: PageShift])[] = [
  [12, 12],
  [12, 16],
  [12, 24],
  [16, 16],
  [16, 24],
  [24, 24],
  [34, 34],
];

export interface RandomTableOptions {
  readonly order?: number;
  /** Of the entries, about, to be valid. */
  readonly share?: number;
  /** Without misplaced entries and reserved codes. */
  readonly healthy?: boolean;
  /** Without reserved codes. */
  readonly readable?: boolean;
}

/**
 * A table of pages of every size where their hash wants them, in few segments, so that pages repeat and groups fill; with some
 * entries that are misplaced or have reserved codes.
 */
export function randomTable(seed: number, options: RandomTableOptions = {}): HptTable {
  const { order = 18, share = 0.4, healthy = false, readable = healthy } = options;
  const random = new SeededRandom(seed);
  const table = new HptTable(order);
  const segmentBits = 1 + random.below(6);
  for (let left = Math.floor(table.entryCount * share); left > 0; left--) {
    const page = randomPage(random, segmentBits);
    const { v, r, secondary } = randomHpte(random, page);
    const hash = hashPage(page.virtual);
    const group = secondary ? secondaryGroup(hash, order) : primaryGroup(hash, order);
    const strange = healthy ? 9 : random.below(40);
    const ptex = strange === 0 ? random.below(table.entryCount) : group * 8 + random.below(8);
    // 2 is an illegal LP code, and B may be reserved.
    if (strange === 1 && !readable) table.set(ptex, v | 4n, (r & ~0xff000n) | 0x2000n);
    else table.set(ptex, strange === 2 && !readable ? v | (1n << 63n) : v, r);
  }
  return table;
}

function randomPage(
  random: SeededRandom,
  segmentBits: number,
): { readonly virtual: VirtualPage; readonly actual: PageShift } {
  const is1T = random.below(2) === 0;
  const sizes = SIZES.filter(([base]) => is1T || base < 34);
  const [basePageShift, actual] = sizes[random.below(sizes.length)]!;
  const vsid = random.below(8) === 0 && is1T ? 0x1ffffff : random.below(2 ** segmentBits) * 77_777 + 5;
  const pages = 2 ** Math.min((is1T ? 40 : 28) - basePageShift, 9);
  const offset = BigInt(random.below(pages)) << BigInt(basePageShift);
  return { virtual: { segment: is1T ? '1T' : '256M', vsid: BigInt(vsid), offset, basePageShift }, actual };
}

function randomHpte(
  random: SeededRandom,
  { virtual, actual }: ReturnType<typeof randomPage>,
): { readonly v: bigint; readonly r: bigint; readonly secondary: boolean } {
  const secondary = random.below(3) === 0;
  const fields = encodeHpte({
    valid: true,
    secondary,
    bolted: random.below(3) === 0,
    software: random.below(5) === 0,
    segment: virtual.segment,
    basePageShift: virtual.basePageShift,
    actualPageShift: actual,
    guestAddress: BigInt(random.below(2 ** 16)) << BigInt(actual),
    pp: random.below(8),
    key: random.below(32),
    wimg: random.below(16),
    noExecute: random.below(2) === 0,
    referenced: random.below(2) === 0,
    changed: random.below(2) === 0,
  });
  return { v: fields.v | encodeAvpn(virtual), r: fields.r, secondary };
}
