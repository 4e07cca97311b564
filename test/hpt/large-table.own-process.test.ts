import { expect, test } from 'vitest';
import { RecordCursor } from '../../lib/records/cursor.js';
import { fillRecords } from '../../lib/records/fill-records.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HPTE_V_LARGE, HPTE_V_VALID } from '../../lib/hpt/hpte-bits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { HptTable } from '../../lib/hpt/table.js';

const ORDER = 34;
const ENTRIES = 2 ** 30;

/** Applies a whole pass over `source`, or one that goes on from the pass before, to `target`. */
function applyPass(source: HptTable, target: HptTable, firstPass: boolean): { reads: number; bytes: number } {
  const state = { cursor: 0, firstPass, boltedOnly: false };
  const cursor = new RecordCursor({ order: ORDER, ascending: true });
  const buffer = new Uint8Array(1 << 20);
  let reads = 0;
  let bytes = 0;
  do {
    const length = fillRecords(source, state, buffer);
    reads++;
    bytes += length;
    cursor.push(buffer.subarray(0, length));
    while (cursor.next()) {
      const { index, validCount, invalidCount, longs, wordOffset } = cursor;
      target.applyRecord(index, validCount, invalidCount, longs, wordOffset / 2);
    }
  } while (state.cursor !== 0);
  cursor.finish();
  return { reads, bytes };
}

test('a table of 2^30 entries costs what is in it, and two passes carry it over', () => {
  const random = new SeededRandom(34);
  const source = new HptTable(ORDER);
  const target = new HptTable(ORDER);
  expect(source.entryCount).toBe(ENTRIES);
  const store = (ptex: number): void => {
    source.store(
      ptex,
      random.uint32() & 0x3fff_ffff,
      (random.uint32() & ~HPTE_V_LARGE) | HPTE_V_VALID,
      random.uint32(),
      random.uint32(),
    );
  };

  while (source.validCount < 100_000) store(random.uint32() % ENTRIES);
  const first = applyPass(source, target, true);
  // Each of the entries lies alone: its 24 bytes, and a header for every 65,535 invalid ones.
  expect(first.bytes).toBeGreaterThan(100_000 * 16);
  expect(first.bytes).toBeLessThan(100_000 * 24 + (ENTRIES / 65_535 + 1) * 8);
  expect(compareTables(source, target)).toEqual({ count: 0, ptexes: [] });
  const before = digestTable(source);

  for (let change = 0; change < 1000; change++) {
    // A third into free places, a third over valid entries, a third removed.
    let ptex = random.uint32() % ENTRIES;
    if (change % 3 !== 0) ptex = source.valid.next(ptex % (ENTRIES / 2));
    // A second change could undo the first.
    if (source.dirty.has(ptex)) continue;
    if (change % 3 === 2) source.remove(ptex);
    else store(ptex);
    source.dirty.add(ptex);
  }
  expect(compareTables(source, target).count).toBe(source.dirty.count);
  const second = applyPass(source, target, false);
  expect(second.reads).toBe(1);
  expect(second.bytes).toBeLessThanOrEqual(1000 * 24);
  expect(source.dirty.count).toBe(0);

  expect(target.validCount).toBe(source.validCount);
  expect(compareTables(source, target)).toEqual({ count: 0, ptexes: [] });
  expect(digestTable(target)).toBe(digestTable(source));
  expect(digestTable(target)).not.toBe(before);
  expect(applyPass(source, target, false)).toEqual({ reads: 1, bytes: 0 });
  expect(process.memoryUsage().rss).toBeLessThan(2 ** 30);
});
