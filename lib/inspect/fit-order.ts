import { SparseBitmap } from '../hpt/bitmap.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import { forEachValid } from '../hpt/entries.js';
import {
  checkOrder,
  entryCount,
  groupOf,
  HPTES_PER_GROUP,
  MAX_STREAM_ORDER,
  ptegCount,
} from '../hpt/geometry.js';
import { rehashPtex } from '../hpt/hash.js';
import { HPTE_V_BOLTED } from '../hpt/hpte-bits.js';
import { checkTable, type HptTable } from '../hpt/table.js';

/** Bolted entries that a resize would move to one place. */
export interface Meeting {
  /** Where they would meet, in the table of the new order. */
  readonly target: number;
  /** Those that would, ascending. */
  readonly ptexes: readonly number[];
}

/**
 * How a resize would end. The kernel moves bolted entries and drops all others, which the guest enters anew.
 *
 * - `fits`: each bolted entry has a place.
 * - `no-space`: two would meet, and the kernel refuses (ENOSPC). The old table stays.
 * - `would-crash`: two would meet, and the kernel, which does not check where a table grows or stays, would crash.
 */
export interface Fit {
  /** Of the new table. */
  readonly order: number;
  readonly verdict: 'fits' | 'no-space' | 'would-crash';
  /** Entries that would move. */
  readonly bolted: number;
  /** Entries that would be dropped. */
  readonly dropped: number;
  /** Places where entries would meet. */
  readonly meetingCount: number;
  /** The first of them, 16 at most, by target. */
  readonly meetings: readonly Meeting[];
  /** Groups of the new table by their number of moved entries: 0, 1, ... 8. */
  readonly occupancy: readonly number[];
  /** Share of the new table that is valid once the guest has entered all that was dropped again; more than 1: it cannot. */
  readonly load: number;
}

const MEETINGS_SHOWN = 16;

/**
 * Predicts how a resize of a table to another order would end (kernel-abi.md 5.3), without a kernel.
 *
 * @param order of the new table, 18..36
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for an order outside it
 *
 * @example
 * if (fitOrder(table, table.order - 1).verdict === 'fits') await resizeHpt(vm, table.order - 1);
 */
export function fitOrder(table: HptTable, order: number): Fit {
  checkTable('table', table);
  checkOrder(order, MAX_STREAM_ORDER);
  const taken = new SparseBitmap(entryCount(order));
  const shared = new SparseBitmap(entryCount(order));
  let bolted = 0;
  forEachBolted(table, order, (target) => {
    bolted++;
    if (!taken.add(target)) shared.add(target);
  });
  const meets = order < table.order ? 'no-space' : 'would-crash';
  return {
    order,
    verdict: shared.count === 0 ? 'fits' : meets,
    bolted,
    dropped: table.validCount - bolted,
    meetingCount: shared.count,
    meetings: meetingsOf(table, order, shared),
    occupancy: occupancyOf(taken, order),
    load: table.validCount / entryCount(order),
  };
}

/** The bolted entries, ascending, each with its place in the table of the new order. */
function forEachBolted(table: HptTable, order: number, visit: (target: number, ptex: number) => void): void {
  forEachValid(table, (ptex, words, word) => {
    const vLow = swapBigEndian(words[word + 1]!);
    if ((vLow & HPTE_V_BOLTED) === 0) return;
    const vHigh = swapBigEndian(words[word]!);
    visit(rehashPtex(ptex, vHigh, vLow, swapBigEndian(words[word + 3]!), table.order, order), ptex);
  });
}

function meetingsOf(table: HptTable, order: number, shared: SparseBitmap): Meeting[] {
  const met = new Map<number, number[]>();
  for (let at = shared.next(0); at < shared.size && met.size < MEETINGS_SHOWN; at = shared.next(at + 1)) {
    met.set(at, []);
  }
  if (met.size > 0) forEachBolted(table, order, (target, ptex) => met.get(target)?.push(ptex));
  return [...met].map(([target, ptexes]) => ({ target, ptexes }));
}

function occupancyOf(taken: SparseBitmap, order: number): number[] {
  const occupancy = new Array<number>(HPTES_PER_GROUP + 1).fill(0);
  let held = 0;
  let occupied = 0;
  for (let at = taken.next(0); at < taken.size;) {
    const next = taken.next(at + 1);
    held++;
    if (groupOf(next) !== groupOf(at) || next === taken.size) {
      occupancy[held]!++;
      occupied++;
      held = 0;
    }
    at = next;
  }
  occupancy[0] = ptegCount(order) - occupied;
  return occupancy;
}
