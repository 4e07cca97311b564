import { HPTE_V_ABSENT, HPTE_V_VALID } from '../../lib/hpt/hpte-bits.js';
import type { HptTable } from '../../lib/hpt/table.js';
import type { HostModel } from '../../lib/vm/host.js';

const hex = (value: bigint): string => value.toString(16).padStart(16, '0');

/**
 * The text that KVM shows of a table in debugfs. R and C stand in the host's r alone, which has another address; every seventh
 * entry is absent.
 */
export function debugfsText(table: HptTable, host: HostModel): string {
  let text = '';
  for (const [ptex, { v, r }] of table) {
    const isAbsent = ptex % 7 === 0;
    const state = BigInt(isAbsent ? HPTE_V_ABSENT : HPTE_V_VALID);
    const marks = isAbsent ? 0n : r & 0x180n;
    const shownV = (v & ~0x61n) | state;
    const hostR = (r & ~0x0fff_ffff_ffff_f180n) | 0x2000_0000_0000n | marks;
    const [lineV, lineR] =
      host === 'power9' ? [shownV & 0x000f_ffff_ffff_ffffn, hostR | ((v >> 62n) << 58n)] : [shownV, hostR];
    const guestR = isAbsent ? r : (r & ~0x180n) | (1n << 62n);
    text += `${ptex.toString(16).padStart(6)} ${hex(lineV)} ${hex(lineR)} ${hex(guestR)}\n`;
  }
  return text;
}
