import { digestTable } from '../../hpt/digest.js';
import { joinHalves } from '../../hpt/halves.js';
import { virtualPageOf } from '../../hpt/hash.js';
import type { HptTable } from '../../hpt/table.js';
import { samplePoints } from '../../io/sample-points.js';
import { limitError, verifyError } from '../../migration/errors.js';
import { spoiled } from '../stream/findings.js';
import type { QemuStreamParser } from '../stream/parser.js';
import { tableRefusal } from './refusals.js';

/** What the table must be. */
export interface Expectations {
  readonly minEntries: number;
  readonly expectDigest?: string | undefined;
}

/** The guest stands still while the table is judged: so many entries take about a millisecond. */
const SAMPLED = 1024;
/** A guest may leave an entry where no hardware finds it. A table of another order has half of them there. */
const MAX_MISPLACED = 0.1;

/**
 * Judges a table of which all has come.
 *
 * @throws HtabError for one that a guest cannot run on, or that is not what is expected
 */
export function judgeTable(parser: QemuStreamParser, { minEntries, expectDigest }: Expectations): void {
  const { table, findings } = parser;
  if (table === undefined && findings.has('radix')) {
    if (expectDigest !== undefined) throw verifyError('the guest uses radix: it has no table of that digest');
    return;
  }
  const found = spoiled(findings.list);
  if (table === undefined || found !== undefined) {
    throw tableRefusal(parser, found?.message ?? 'no page table has come', found);
  }
  if (table.validCount < minEntries) {
    const message = `the table has ${table.validCount} valid entries, fewer than ${minEntries}`;
    throw limitError('minEntries', message);
  }
  refuseMisplaced(parser, table);
  if (expectDigest === undefined) return;
  const digest = digestTable(table);
  if (digest !== expectDigest) throw verifyError(`the table has digest ${digest}, not ${expectDigest}`);
}

/** A resize in mid-stream need not show in any index, but its entries are hashed for another order. */
function refuseMisplaced(parser: QemuStreamParser, table: HptTable): void {
  const words = new Uint32Array(4);
  let looked = 0;
  let misplaced = 0;
  for (const ptex of samplePoints(table, SAMPLED)) {
    table.load(ptex, words);
    const v = joinHalves(words[0]!, words[1]!);
    const r = joinHalves(words[2]!, words[3]!);
    looked++;
    if (virtualPageOf(ptex, v, r, table.order) === undefined) misplaced++;
  }
  if (misplaced <= looked * MAX_MISPLACED) return;
  throw tableRefusal(
    parser,
    `${misplaced} of ${looked} entries stand where a table of order ${table.order} has no place for them: ` +
      'the guest may have resized its table while it migrated',
  );
}
