import { SeededRandom } from '../../base/random.js';
import type { HptTable } from '../../hpt/table.js';
import { NOTHING_STORED, type ContentsState } from './guest-contents.js';
import { GuestPages } from './guest-pages.js';
import { ACTIONS, type WorkloadMix, type WorkloadOptions } from './workload-options.js';
import { decodeWorkload } from './workload-state.js';

const DEFAULT_MIX: WorkloadMix = { fault: 30, evict: 8, protect: 12, load: 25, store: 25 };
const MAX_DEFAULT_PAGES = 32_768;

/** Where a guest starts from. */
export interface WorkloadStart {
  readonly random: SeededRandom;
  readonly pages: GuestPages;
  readonly weights: readonly number[];
  readonly counts: Readonly<Record<string, number>>;
  readonly contents: ContentsState;
}

/** A guest that has this table, and has stored nothing yet. */
export function firstStart(table: HptTable, options: WorkloadOptions): WorkloadStart {
  const { seed = 1, pageShift = 16, memory } = options;
  const { memoryBytes = memory?.bytes ?? 2 ** 30 } = options;
  const { pages: count = Math.min(table.entryCount / 16, MAX_DEFAULT_PAGES) } = options;
  const mix = { ...DEFAULT_MIX, ...options.mix };
  const random = new SeededRandom(seed);
  return {
    random,
    pages: GuestPages.of(table, { count, pageShift, memoryBytes }, random),
    weights: ACTIONS.map((action) => mix[action]),
    counts: {},
    contents: { ...NOTHING_STORED, seed },
  };
}

/**
 * The guest whose registers these are.
 *
 * @throws RangeError for any other bytes
 */
export function laterStart(table: HptTable, registers: Uint8Array): WorkloadStart {
  const { numbers, arrays } = decodeWorkload(registers);
  const { random, weights, counts, pinned, seed, stores, checksum } = numbers;
  const { storedPages, storedBy, ...pages } = arrays;
  return {
    random: SeededRandom.from(random),
    pages: GuestPages.from(pinned, pages, table),
    weights,
    counts,
    contents: { seed, stores, checksum, storedPages, storedBy },
  };
}
