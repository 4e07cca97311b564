import { readFileSync } from 'node:fs';
import type { HptTable } from '../../../lib/hpt/table.js';
import { HPTE_R_C, HPTE_R_MODIFIED_HIGH, HPTE_R_R } from '../../../lib/hpt/hpte-bits.js';

const REFERENCES = BigInt(HPTE_R_R | HPTE_R_C);
/** The kernel's own mark of a change. */
const MODIFIED = BigInt(HPTE_R_MODIFIED_HIGH) << 32n;

/**
 * A table as the kernel shows it in debugfs: a line for each valid entry with index, v, r as the hardware uses it, and r as
 * the guest knows it.
 *
 * @returns r in the guest's view, by index
 */
export function readDebugfs(path: string): Map<number, bigint> {
  const entries = new Map<number, bigint>();
  for (const line of readFileSync(path, 'latin1').trim().split('\n')) {
    const [index, , hardware = 0n, guest = 0n] = line
      .trim()
      .split(/ +/)
      .map((word) => BigInt(`0x${word}`));
    entries.set(Number(index), (guest & ~MODIFIED) | (hardware & REFERENCES));
  }
  return entries;
}

/** r in the guest's view of a table's valid entries, by index. */
export function guestView(table: HptTable): Map<number, bigint> {
  return new Map([...table].map(([ptex, { r }]) => [ptex, r]));
}
