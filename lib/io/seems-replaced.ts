import { HPTE_V_BOLTED, HPTE_V_PRIVATE } from '../hpt/hpte-bits.js';
import type { HptTable } from '../hpt/table.js';
import type { HtabVm } from '../vm/contract.js';
import { lookAt, openerOf, type OpenFresh } from './fresh-look.js';
import { samplePoints } from './sample-points.js';

/** Parts of the table, by valid entries, of which each gives one or two looks. */
const STRATA = 4;
/** Fewer entries of a kind tell nothing: a guest may have removed them all. */
const MIN_TELLING = 3;

/** An entry as it was known before it was looked at. */
interface Point {
  readonly ptex: number;
  readonly vHigh: number;
  readonly vLow: number;
}

/**
 * Looks whether a running guest's table may be another one than the one that was read. Fresh descriptors must name a table
 * of its order. Of a sample, its last entry and at most 8 valid ones, some may have changed, but hardly all that are bolted,
 * which a reset drops, nor all that are not, which a resize drops as well. In a table of which much has changed since it
 * was read they may: then a pass is made, and the next look tells.
 *
 * Descriptors that cannot begin in mid-table show only that there is a table.
 *
 * @param known what was read; `take` brings it up to date
 * @param take gets what each look has read, at once: no reader will be told of these changes
 * @throws HtabUnavailableError `no-table` if the guest has none
 * @throws HtabStateError `order-changed` if the table has another order
 * @throws what opening, reading and `take` throw; the signal's reason
 */
export async function seemsReplaced(
  known: HptTable,
  source: HtabVm | OpenFresh,
  take: (records: Uint8Array) => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const open = openerOf(source, known.order);
  const points = pointsOf(known);
  for (const ptex of [known.entryCount - 1, ...points.map((point) => point.ptex)]) {
    signal?.throwIfAborted();
    const { first, records } = await lookAt(known.order, ptex, open);
    take(records);
    if (first !== ptex) return false;
  }
  const isBolted = ({ vLow }: Point): boolean => (vLow & HPTE_V_BOLTED) !== 0;
  const kinds = [points.filter(isBolted), points.filter((point) => !isBolted(point))];
  return kinds.some((kind) => kind.length >= MIN_TELLING && kind.every((point) => !isThere(known, point)));
}

function pointsOf(known: HptTable): Point[] {
  const entry = new Uint32Array(4);
  return Array.from(new Set(samplePoints(known, STRATA)), (ptex) => {
    known.load(ptex, entry);
    return { ptex, vHigh: entry[0]!, vLow: entry[1]! };
  });
}

/** Whether the entry still maps the same address; what it maps it to, and R and C, change while a guest runs. */
function isThere(table: HptTable, { ptex, vHigh, vLow }: Point): boolean {
  const entry = new Uint32Array(4);
  return table.load(ptex, entry) && entry[0] === vHigh && ((entry[1]! ^ vLow) & ~HPTE_V_PRIVATE) === 0;
}
