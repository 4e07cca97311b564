import { readFileSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { hashPage, primaryGroup } from '../../lib/hpt/hash.js';
import { HptTable } from '../../lib/hpt/table.js';
import { linuxPage } from '../../lib/inspect/linux-address.js';
import { writeTable } from '../../lib/snapshot/write-table.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';
import { notCompiled } from './processes.js';

const ORDER = 30;
const PROCESSES = 200;
const PAGES_EACH = 200;
const scratch = scratchFiles();

/** The table of a guest with that many processes, which have pages all over it. */
function busyTable(): HptTable {
  const table = new HptTable(ORDER);
  for (let each = 0; each <= PROCESSES; each++) {
    const context = each === 0 ? 1 : 9 + each;
    for (let k = 0; k < PAGES_EACH; k++) {
      const effectiveAddress = BigInt((each === 0 ? k : Math.imul(k, 0x9e3779b1) >>> 8) * 2 ** 16);
      const page = linuxPage({ context, effectiveAddress, segment: '1T', basePageShift: 16 });
      const v = (1n << 62n) | (page.vsid << 24n) | ((page.offset >> 23n) << 7n) | (each === 0 ? 0x15n : 5n);
      table.set(primaryGroup(hashPage(page), ORDER) * 8 + (k & 7), v, 0x1192n | (BigInt(k) << 16n));
    }
  }
  return table;
}

test.skipIf(notCompiled !== undefined)(
  `a whole report on a table of order ${ORDER} has less than 2.5 MB${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  async () => {
    const [snapshot, page] = [scratch('guest.hpt'), scratch('report.html')];
    await writeTable(busyTable(), snapshot, undefined);
    expect(await run(['report', snapshot, '-o', page], captureOutput())).toBe(0);
    expect(statSync(page).size).toBeLessThan(2_500_000);
    expect(readFileSync(page, 'utf8')).toMatch(/<data id="processes" value="200">/);
  },
);
