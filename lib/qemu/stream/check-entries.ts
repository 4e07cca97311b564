import { forEachValid } from '../../hpt/entries.js';
import { HPTES_PER_GROUP, groupOf, ptegCount } from '../../hpt/geometry.js';
import { virtualPageOf } from '../../hpt/hash.js';
import { joinHalves } from '../../hpt/halves.js';
import { HPTE_V_SECONDARY } from '../../hpt/hpte-bits.js';
import type { HptTable } from '../../hpt/table.js';
import type { Findings } from './findings.js';

/** AVPN, L and H in the low half of v; all of the high half counts. */
const COMPARED = 0xffff_ff86;

/** Looks for entries that no guest should have: in a PTEG their page does not hash to, and two for one page. */
export function checkEntries(table: HptTable, findings: Findings): void {
  const words = new Uint32Array(4);
  forEachValid(table, (ptex) => {
    table.load(ptex, words);
    const [vHigh, vLow] = [words[0]!, words[1]!];
    const v = joinHalves(vHigh, vLow);
    if (virtualPageOf(ptex, v, joinHalves(words[2]!, words[3]!), table.order) === undefined) {
      findings.add('misplaced', 'an entry stands in a group that no address of its page hashes to', { ptex });
    }
    const other = earlierTwin(table, ptex, vHigh, vLow);
    if (other === undefined) return;
    findings.add('double', () => `an entry maps the page that entry ${other} maps`, { ptex });
  });
}

const wanted = new Uint32Array(2);
const found = new Uint32Array(4);

/** An entry before this one, in the page's one group or the other, that maps the same page. */
function earlierTwin(table: HptTable, ptex: number, vHigh: number, vLow: number): number | undefined {
  const group = groupOf(ptex);
  const other = ptegCount(table.order) - 1 - group;
  wanted[0] = vHigh;
  wanted[1] = vLow & COMPARED;
  const twin = twinIn(table, group, ptex);
  if (twin !== undefined) return twin;
  wanted[1] = (vLow ^ HPTE_V_SECONDARY) & COMPARED;
  return twinIn(table, other, ptex);
}

function twinIn(table: HptTable, group: number, before: number): number | undefined {
  const first = group * HPTES_PER_GROUP;
  for (let ptex = first; ptex < Math.min(first + HPTES_PER_GROUP, before); ptex++) {
    if (!table.load(ptex, found)) continue;
    if (found[0] === wanted[0] && (found[1]! & COMPARED) >>> 0 === wanted[1]) return ptex;
  }
  return undefined;
}
