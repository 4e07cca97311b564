import { compareTables, type TableDifference } from '../../hpt/compare.js';
import type { HptTable } from '../../hpt/table.js';
import { readTable } from '../../io/read-table.js';
import { EXTRA_STEPS, startGuest, type Machine } from './machine.js';

/** A guest that has moved beside one that has not, after as many steps. */
export interface UnmovedVerdict {
  readonly steps: number;
  /** Over all that each has loaded. */
  readonly checksum: number;
  readonly unmovedChecksum: number;
  readonly differences: TableDifference;
  /** 64 KiB blocks of memory that differ. */
  readonly differentBlocks: number;
  /** Checksums, tables and memories are equal. */
  readonly verified: boolean;
}

const BLOCK_BYTES = 65_536;

/** Lets a moved guest go on for a while, and the same guest run as far without having been moved. */
export async function compareWithUnmoved(
  moved: Machine,
  table: HptTable,
  seed: number,
): Promise<UnmovedVerdict> {
  const workload = moved.guest.workload!;
  workload.step(EXTRA_STEPS);
  const { steps } = workload.counts;
  const stayed = await startGuest(table, seed, { stepsPerSecond: 0 });
  const unmoved = stayed.guest.workload!;
  unmoved.step(steps - unmoved.counts.steps);
  const differences = compareTables(await readTable(moved.vm), await readTable(stayed.vm));
  const { checksum } = workload;
  const unmovedChecksum = unmoved.checksum;
  const differentBlocks = countDifferentBlocks(moved, stayed);
  const verified = checksum === unmovedChecksum && differences.count === 0 && differentBlocks === 0;
  return { steps, checksum, unmovedChecksum, differences, differentBlocks, verified };
}

function countDifferentBlocks(one: Machine, other: Machine): number {
  const [ours, theirs] = [Buffer.alloc(BLOCK_BYTES), Buffer.alloc(BLOCK_BYTES)];
  let count = 0;
  for (let offset = 0; offset < one.ram.bytes; offset += BLOCK_BYTES) {
    one.ram.read(offset, ours);
    other.ram.read(offset, theirs);
    if (!ours.equals(theirs)) count++;
  }
  return count;
}
