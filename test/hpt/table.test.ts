import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { halvesOf, wireLongs, loadRun, stepNear, Pair, walk } from './table-pair.js';

describe('a table does what a plain Map and a Set of marks do', () => {
  test.each([
    ['order 18', 18, [0, 1024, 16383]],
    ['order 20, one whole page of its bitmaps', 20, [0, 32_768, 65_535]],
    [
      'order 36, beyond 2^31 and up to the last entry',
      36,
      [65_536, 2 ** 31, 3 * 2 ** 30 + 65_536, 2 ** 32 - 1],
    ],
  ])('%s', (_name, order, places) => {
    const program = fc.array(stepNear(places, 2 ** (order - 4)), { maxLength: 100, size: 'max' });
    fc.assert(
      fc.property(program, (program) => {
        const pair = new Pair(order);
        for (const step of program) pair.run(step);
        pair.check();
      }),
      { numRuns: 100 },
    );
  });

  test('over one long program in which groups grow and shrink', () => {
    const pair = new Pair(18);
    const program = fc.sample(stepNear([100], 16_384), { numRuns: 3000, seed: 1 });
    for (const [number, step] of program.entries()) {
      pair.run(step);
      if (number % 50 === 0) pair.check();
    }
    pair.check();
  });
});

test('a loop over a table reads each entry when it reaches it', () => {
  const table = new HptTable(18);
  for (const ptex of [3, 40, 41, 16_383]) table.set(ptex, BigInt(ptex), 1n);
  const seen: [number, bigint][] = [];
  for (const [ptex, { v }] of table) {
    seen.push([ptex, v]);
    if (ptex !== 3) continue;
    table.remove(40);
    table.set(41, 7n, 1n);
    table.set(2, 8n, 1n);
    table.set(50, 9n, 1n);
  }
  expect(seen).toEqual([
    [3, 3n],
    [41, 7n],
    [50, 9n],
    [16_383, 16_383n],
  ]);
  expect([...new HptTable(36)]).toEqual([]);
});

describe('a valid entry by its rank', () => {
  test('is the one that so many others precede, wherever they stand, also after some were removed', () => {
    const table = new HptTable(22);
    const places = [0, 1, 31, 32, 63, 1000, 65_535, 65_536, 131_071, 196_608, 196_639, 262_143];
    for (const ptex of places) table.store(ptex, 0, 1, 0, 0x190);
    table.applyRecord(
      70_000,
      100,
      3,
      wireLongs(Array.from({ length: 100 }, () => [0, 1, 0, 0x190] as const)),
      0,
    );
    table.removeRun(1, 40);
    const valid: number[] = [];
    for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1))
      valid.push(ptex);
    expect(valid).toHaveLength(109);
    expect(valid.map((_, rank) => table.nthValid(rank))).toEqual(valid);
    for (const rank of [-1, 109, 0.5]) expect(() => table.nthValid(rank)).toThrow(RangeError);
  });
});

describe('edges', () => {
  test('a run over many groups and pages is read back whole, with any entries before it', () => {
    const table = new HptTable(21);
    const entries = Array.from({ length: 60_000 }, (_, i) => halvesOf(i));
    table.store(0, 1, 2, 3, 4);
    table.applyRecord(32_000, 60_000, 0, wireLongs(entries), 0);
    expect(loadRun(table, 32_000, 60_000)).toEqual(entries);
  });

  test('all entries of the largest table can be removed at once', () => {
    const table = new HptTable(36);
    for (const ptex of [0, 65_536, 2 ** 31, 2 ** 32 - 1]) table.set(ptex, 1n, 0n);
    expect(table.removeRun(1, 2 ** 32 - 2)).toBe(2);
    expect(table.removeRun(0, 2 ** 32)).toBe(2);
    expect(table.validCount).toBe(0);
  });

  test('dirty marks belong to the owner: storing, removing and clearing leave them alone', () => {
    const table = new HptTable(18);
    table.store(5, 0, 1, 0, 0);
    expect(table.dirty.count).toBe(0);
    table.dirty.addRange(4, 7);
    table.remove(5);
    table.applyRecord(6, 1, 0, new BigUint64Array(2), 0);
    table.clear();
    expect(walk(table.dirty, table.entryCount)).toEqual([4, 5, 6]);
  });

  test('an entry that is not valid leaves the output of load untouched', () => {
    const table = new HptTable(18);
    table.store(8, 1, 2, 3, 4);
    table.remove(8);
    const out = Uint32Array.of(9, 9, 9, 9);
    expect([table.load(8, out), table.load(9, out), ...out]).toEqual([false, false, 9, 9, 9, 9]);
    expect(table.get(8)).toBeUndefined();
  });

  test('doublewords and halves are the same entry, and bytes are kept as they stand', () => {
    const table = new HptTable(36);
    const last = 2 ** 32 - 1;
    table.set(last, 0xfedc_ba98_7654_3271n, 0x8123_4567_89ab_cdefn);
    expect(table.get(last)).toEqual({ v: 0xfedc_ba98_7654_3271n, r: 0x8123_4567_89ab_cdefn });
    const words = new Uint32Array(4);
    table.load(last, words);
    expect([...words]).toEqual([0xfedc_ba98, 0x7654_3271, 0x8123_4567, 0x89ab_cdef]);
    const { blocks: groups } = table;
    const at = groups[last >>> 16]!.placeOf((last & 0xffff) >>> 5) * 4;
    const stored = Uint32Array.from(groups[last >>> 16]!.words.subarray(at, at + 4));
    expect(Buffer.from(stored.buffer).toString('hex')).toBe('fedcba98765432718123456789abcdef');
  });

  test('a cleared table is empty and can be filled again', () => {
    const pair = new Pair(21);
    pair.run({ do: 'applyRun', at: 65_500, count: 140, seed: 3 });
    pair.table.clear();
    pair.entries.clear();
    pair.check();
    pair.run({ do: 'applyRun', at: 65_520, count: 70, seed: 4 });
    pair.check();
  });

  test.each([17, 37, 46])('order %i is refused: the stream cannot address it', (order) => {
    expect(() => new HptTable(order)).toThrow(
      expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }),
    );
  });
});

test.each([-1, 1.5, NaN, 16_384, 2 ** 32 + 5])('entry %d is not of a table of order 18', (ptex) => {
  const table = new HptTable(18);
  expect(() => table.get(ptex)).toThrow(RangeError);
  expect(() => {
    table.set(ptex, 1n, 0n);
  }).toThrow(RangeError);
  expect(table.validCount).toBe(0);
});
