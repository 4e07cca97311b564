import { describe, expect, test } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { MAX_VSIDS } from '../../lib/inspect/vsid-counts.js';
import { tableStats } from '../../lib/inspect/table-stats.js';
import { linuxTables } from './support.js';
import { plainStats } from './plain-stats.js';
import { randomTable } from './random-table.js';

describe('tableStats', () => {
  test.each(Object.entries(linuxTables))('counts in %s what a plain count finds', (_, table) => {
    expect(tableStats(table)).toEqual(plainStats(table));
  });

  test.each([1, 2, 3, 4, 5, 6])('counts in random table %i what a plain count finds', (seed) => {
    const table = randomTable(seed, { share: seed === 6 ? 4 : 0.4 });
    const stats = tableStats(table);
    expect(stats).toEqual(plainStats(table));
    // Each kind of entry is there to be counted.
    expect(Math.min(stats.misplaced, stats.doubled, stats.unreadable, stats.vrma)).toBeGreaterThan(0);
  });

  test('counts a table without an entry', () => {
    const table = new HptTable(18);
    expect(tableStats(table)).toEqual(plainStats(table));
  });

  test('counts the last entries of the largest table', () => {
    const table = new HptTable(36);
    const last = 2 ** 32 - 1;
    for (let ptex = last - 7; ptex <= last; ptex++) table.set(ptex, 0x1n, 0x190n);
    for (let ptex = 0; ptex < 8; ptex++) table.set(ptex, 0x3n, 0x190n);
    const stats = tableStats(table);
    expect(stats.occupancy).toEqual([2 ** 29 - 2, 0, 0, 0, 0, 0, 0, 0, 2]);
    expect(stats).toMatchObject({ validCount: 16, cornered: 16, secondary: 8, misplaced: 16 });
  });

  test('keeps the counts of so many segments and adds up the rest', () => {
    const table = new HptTable(26);
    const more = 1000;
    for (let vsid = 0; vsid < MAX_VSIDS + more; vsid++)
      table.set(vsid, (BigInt(vsid) << 12n) | 0x11n, 0x191n);
    const { vsids, otherVsids, validCount } = tableStats(table);
    expect(vsids.length).toBe(MAX_VSIDS);
    expect(otherVsids).toEqual({
      entries: more,
      bytes: more * 4096,
      bolted: more,
      writable: more,
      executable: more,
    });
    expect(vsids.reduce((sum, { entries }) => sum + entries, 0)).toBe(validCount - more);
  });
});
