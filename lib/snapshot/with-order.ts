import { entryCount } from '../hpt/geometry.js';
import { HptTable } from '../hpt/table.js';

/**
 * The same entries in a table of another order, for a file that tells its order only at its end.
 *
 * @param order of a table that has all of them
 */
export function withOrder(table: HptTable, order: number): HptTable {
  const copy = new HptTable(order);
  const hpte = new Uint32Array(4);
  const { valid } = table;
  const end = entryCount(order);
  for (let ptex = valid.next(0, end); ptex < end; ptex = valid.next(ptex + 1, end)) {
    table.load(ptex, hpte);
    copy.store(ptex, hpte[0]!, hpte[1]!, hpte[2]!, hpte[3]!);
  }
  return copy;
}
