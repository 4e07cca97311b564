import { HPTE_V_BOLTED } from '../hpt/hpte-bits.js';
import type { HptTable } from '../hpt/table.js';

/** Valid entries of a part that are searched for one that is not bolted. */
const MAX_SEARCHED = 256;

/**
 * Valid entries from all over the table: by their rank, as they may all stand in a corner of it.
 *
 * @param parts parts with equally many valid entries, of which each gives an entry, and one near it that is not bolted
 */
export function* samplePoints(table: HptTable, parts: number): Generator<number, void, undefined> {
  const strata = Math.min(parts, table.validCount);
  for (let k = 0; k < strata; k++) {
    const ptex = table.nthValid(Math.floor(((k + 0.5) / strata) * table.validCount));
    yield ptex;
    const unbolted = unboltedFrom(table, ptex);
    if (unbolted !== undefined && unbolted !== ptex) yield unbolted;
  }
}

/** The first valid entry from `ptex` on that is not bolted; undefined if there is none near. */
function unboltedFrom(table: HptTable, ptex: number): number | undefined {
  const entry = new Uint32Array(4);
  let at = ptex;
  for (let searched = 0; searched < MAX_SEARCHED && at < table.entryCount; searched++) {
    if (table.load(at, entry) && (entry[1]! & HPTE_V_BOLTED) === 0) return at;
    at = table.valid.next(at + 1);
  }
  return undefined;
}
