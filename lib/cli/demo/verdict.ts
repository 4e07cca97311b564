import { compareTables, type TableDifference } from '../../hpt/compare.js';
import { digestTable } from '../../hpt/digest.js';
import { readTable } from '../../io/read-table.js';
import type { HtabVm } from '../../vm/contract.js';

/** What the tables of two VMs hold, and whether it is the same. */
export interface Verdict {
  readonly sourceDigest: string;
  readonly destinationDigest: string;
  readonly differences: TableDifference;
  /** Both digests are equal, and so is every entry. */
  readonly verified: boolean;
}

/**
 * Reads both tables anew and compares them, entry by entry and by digest: nothing of what a migration has noted is used.
 */
export async function compareVms(source: HtabVm, destination: HtabVm): Promise<Verdict> {
  const ours = await readTable(source);
  const theirs = await readTable(destination);
  const sourceDigest = digestTable(ours);
  const destinationDigest = digestTable(theirs);
  const differences = compareTables(ours, theirs);
  const verified = sourceDigest === destinationDigest && differences.count === 0;
  return { sourceDigest, destinationDigest, differences, verified };
}
