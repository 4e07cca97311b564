import { afterEach, describe, expect, test, vi } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { halvesOf, wireLongs, loadRun } from './table-pair.js';

describe('memory of a table filled in ascending order', () => {
  const PAGE = 65_536;

  function placesPerPage(counts: readonly number[]): number[] {
    const table = new HptTable(24);
    for (const [page, count] of counts.entries()) {
      const longs = wireLongs(Array.from({ length: count }, (_, i) => halvesOf(i)));
      // In groups of 16, as from a table of which half is valid.
      for (let entry = 0; entry < count; entry += 16) {
        table.applyRecord(page * PAGE + entry * 2, Math.min(16, count - entry), 16, longs, entry * 2);
      }
    }
    return table.blocks.slice(0, counts.length).map((groups) => groups!.words.length / 4);
  }

  test('is little more than its entries take, once a page has told how full pages are', () => {
    const [, second = NaN, third = NaN] = placesPerPage([20_000, 20_000, 19_000]);
    expect(second).toBeLessThan(20_000 * 1.1);
    expect(third).toBeLessThan(20_000 * 1.1);
  });

  test('is wasted by an emptier page once, and only as far as the one below is full', () => {
    const [, second = NaN, third] = placesPerPage([20_000, 16, 16]);
    expect(second).toBeLessThan(20_000 * 1.1);
    expect(third).toBe(64);
  });
});

describe('when memory runs out', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  test('what was stored before is whole, and counted', () => {
    const table = new HptTable(18);
    const entries = Array.from({ length: 2_000 }, (_, i) => halvesOf(i));
    const run = wireLongs(entries);
    let stored = 0;
    vi.stubGlobal(
      'BigUint64Array',
      class extends BigUint64Array {
        constructor(...args: [number] | [ArrayBuffer, number, number]) {
          if (args.length === 1 && args[0] > 1_000) throw new RangeError('Array buffer allocation failed');
          super(...(args as [number]));
        }
      },
    );
    expect(() => {
      // Downwards, so that groups move.
      for (; stored < 2_000; stored++) table.applyRecord(1_999 - stored, 1, 0, run, (1_999 - stored) * 2);
    }).toThrow('Array buffer allocation failed');
    expect(stored).toBeGreaterThan(100);
    expect(table.validCount).toBe(stored);
    const first = 2_000 - stored;
    expect(loadRun(table, first, stored)).toEqual(entries.slice(first));
  });
});
