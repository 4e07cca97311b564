import { swapBigEndian } from '../hpt/byte-order.js';
import { forEachValid } from '../hpt/entries.js';
import { HPTE_V_BOLTED, hasReservedSegment } from '../hpt/hpte-bits.js';
import { basePageShift } from '../hpt/page-size.js';
import type { HptTable } from '../hpt/table.js';
import { linuxAddress } from './linux-address.js';
import { isKernel, type KernelPages } from './linux-regions.js';
import { COUNT, VsidCounts } from './vsid-counts.js';
import { type VsidStats, vsidStats } from './vsid-stats.js';

/** So much of what is bolted must be the kernel's. By chance one in 75,000 contexts is. */
const KERNEL_SHARE = 0.99;
/** As it stands in a word of stream bytes. */
const BOLTED_WORD = swapBigEndian(HPTE_V_BOLTED);

/** What of a segment tells whose it is. */
type BoltedSegment = Pick<VsidStats, 'segment' | 'vsid' | 'bolted'>;

/**
 * The layout of the kernel that has bolted its entries in a table: `linuxGuest(tableStats(table))?.kernelPages`, at the cost of a
 * look at each entry.
 *
 * @returns undefined if no Linux kernel has
 */
export function kernelPagesOf(table: HptTable): KernelPages | undefined {
  const segments = new VsidCounts();
  let bolted = 0;
  forEachValid(table, (_, words, word) => {
    if ((words[word + 1]! & BOLTED_WORD) === 0) return;
    bolted++;
    const vHigh = swapBigEndian(words[word]!);
    const vLow = swapBigEndian(words[word + 1]!);
    if (hasReservedSegment(vHigh) || basePageShift(vLow, swapBigEndian(words[word + 3]!)) === 0) return;
    segments.counts[segments.at(vHigh, vLow) + COUNT.bolted]!++;
  });
  return layoutOf(bolted, vsidStats(segments));
}

/**
 * The layout of the kernel whose these segments are.
 *
 * @param bolted entries of the table that are, in any segment
 * @returns undefined if no Linux kernel has bolted them
 */
export function layoutOf(bolted: number, segments: readonly BoltedSegment[]): KernelPages | undefined {
  let kernel = 0;
  let vrma = 0;
  let isSmall = false;
  for (const { segment, vsid, bolted: held } of segments) {
    const address = held > 0 ? linuxAddress({ segment, vsid, offset: 0n, basePageShift: 12 }) : undefined;
    if (address === undefined) continue;
    const { region, context } = address;
    if (region === 'vrma') vrma += held;
    else if (isKernel(region)) kernel += held;
    isSmall ||= context >= 2 && context <= 4;
  }
  if (kernel === 0 || kernel < (bolted - vrma) * KERNEL_SHARE) return undefined;
  return isSmall ? '4K' : '64K';
}
