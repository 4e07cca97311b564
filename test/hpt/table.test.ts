import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';

/** vHigh, vLow, rHigh, rLow. */
type Halves = readonly [number, number, number, number];

/** Four words that no other seed gives. */
function halvesOf(seed: number): Halves {
  return [seed, Math.imul(seed, 0x9e3779b1) >>> 0, ~seed >>> 0, Math.imul(seed + 1, 0x85ebca6b) >>> 0];
}

/** HPTEs as they travel, big-endian, seen as doublewords; `lead` doublewords of something else before them. */
function wireLongs(entries: readonly Halves[], lead = 0): BigUint64Array {
  const bytes = new DataView(new ArrayBuffer(lead * 8 + entries.length * 16));
  for (const [entry, halves] of entries.entries()) {
    for (const [half, value] of halves.entries()) bytes.setUint32(lead * 8 + entry * 16 + half * 4, value);
  }
  return new BigUint64Array(bytes.buffer);
}

/** What `load` says of entries in a row; undefined for one that is not valid. */
function loadRun(table: HptTable, ptex: number, count: number): (readonly number[] | undefined)[] {
  const out = new Uint32Array(4);
  return Array.from({ length: count }, (_, i) => (table.load(ptex + i, out) ? [...out] : undefined));
}

type Step =
  | { do: 'store' | 'remove' | 'mark' | 'unmark'; at: number; seed: number }
  | { do: 'applyRun' | 'removeRun' | 'markRun' | 'unmarkRun'; at: number; count: number; seed: number };

/** A step near one of the given places: many of them make runs that overlap, join and split. */
function stepNear(places: readonly number[], entryCount: number): fc.Arbitrary<Step> {
  const at = fc
    .tuple(fc.constantFrom(...places), fc.integer({ min: -70, max: 140 }))
    .map(([place, offset]) => Math.min(entryCount - 1, Math.max(0, place + offset)));
  const seed = fc.integer({ min: 0, max: 0xffffffff });
  return fc.oneof(
    fc.record({ do: fc.constantFrom('store', 'remove', 'mark', 'unmark'), at, seed }),
    fc
      .record({
        do: fc.constantFrom('applyRun', 'removeRun', 'markRun', 'unmarkRun'),
        at,
        count: fc.integer({ min: 1, max: 140 }),
        seed,
      })
      .map((step) => ({ ...step, count: Math.min(step.count, entryCount - step.at) })),
  );
}

/** A table and what a plain Map and Set make of the same steps. */
class Pair {
  readonly table: HptTable;
  readonly entries = new Map<number, Halves>();
  readonly marks = new Set<number>();

  constructor(order: number) {
    this.table = new HptTable(order);
  }

  run(step: Step): void {
    const { table, entries, marks } = this;
    const { at } = step;
    const range = Array.from({ length: 'count' in step ? step.count : 1 }, (_, i) => at + i);
    const values = range.map((_, i) => halvesOf((step.seed + i) >>> 0));
    switch (step.do) {
      case 'store':
        table.store(at, ...values[0]!);
        entries.set(at, values[0]!);
        break;
      case 'applyRun':
        table.applyRecord(at, range.length, 0, wireLongs(values, step.seed % 4), step.seed % 4);
        for (const [i, ptex] of range.entries()) entries.set(ptex, values[i]!);
        break;
      case 'remove':
        expect(table.remove(at)).toBe(entries.delete(at));
        break;
      case 'removeRun':
        expect(table.removeRun(at, range.length)).toBe(range.filter((ptex) => entries.delete(ptex)).length);
        break;
      case 'mark':
        expect(table.dirty.add(at)).toBe(!marks.has(at));
        marks.add(at);
        break;
      case 'unmark':
        expect(table.dirty.delete(at)).toBe(marks.delete(at));
        break;
      case 'markRun':
        table.dirty.addRange(at, at + range.length);
        for (const ptex of range) marks.add(ptex);
        break;
      case 'unmarkRun':
        expect(table.dirty.deleteRange(at, at + range.length)).toBe(
          range.filter((ptex) => marks.delete(ptex)).length,
        );
    }
  }

  /** Compares every entry and mark, seen through every way to read them. */
  check(): void {
    const { table, entries, marks } = this;
    const expected = [...entries.keys()].sort((a, b) => a - b);
    expect(table.validCount).toBe(entries.size);
    expect(walk(table.valid, table.entryCount)).toEqual(expected);
    expect(table.dirty.count).toBe(marks.size);
    expect(walk(table.dirty, table.entryCount)).toEqual([...marks].sort((a, b) => a - b));

    const out = new Uint32Array(4);
    const loaded = expected.map((ptex) => (table.load(ptex, out) ? [...out] : undefined));
    expect(loaded).toEqual(expected.map((ptex) => [...entries.get(ptex)!]));
    const ofWords = ([vHigh, vLow, rHigh, rLow]: Halves) => ({
      v: (BigInt(vHigh) << 32n) | BigInt(vLow),
      r: (BigInt(rHigh) << 32n) | BigInt(rLow),
    });
    expect([...table]).toEqual(expected.map((ptex) => [ptex, ofWords(entries.get(ptex)!)]));
    const wrong = expected
      .flatMap((ptex) => [ptex - 1, ptex + 1])
      .filter((ptex) => ptex >= 0 && ptex < table.entryCount)
      .filter((ptex) => table.has(ptex) !== entries.has(ptex) || table.dirty.has(ptex) !== marks.has(ptex));
    expect(wrong).toEqual([]);
  }
}

function walk(bits: { next(from: number): number }, end: number): number[] {
  const found: number[] = [];
  for (let index = bits.next(0); index < end; index = bits.next(index + 1)) found.push(index);
  return found;
}

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

describe('a group of 32 entries', () => {
  const shuffled = (seed: number): number[] =>
    fc.sample(
      fc.shuffledSubarray(
        Array.from({ length: 32 }, (_, i) => i),
        { minLength: 32 },
      ),
      {
        numRuns: 1,
        seed,
      },
    )[0]!;

  test('holds every entry at every size, filled and emptied in any order', () => {
    for (let seed = 0; seed < 10; seed++) {
      const pair = new Pair(18);
      pair.run({ do: 'applyRun', at: 31, count: 1, seed: 7 });
      pair.run({ do: 'applyRun', at: 64, count: 3, seed: 9 });
      for (const bit of shuffled(seed)) {
        pair.run({ do: 'store', at: 32 + bit, seed: bit + seed * 100 });
        pair.check();
      }
      for (const bit of shuffled(seed + 1000)) {
        pair.run({ do: 'remove', at: 32 + bit, seed: 0 });
        pair.check();
      }
    }
  });

  test('gives its memory back: filling and emptying without end takes no more than once', () => {
    const table = new HptTable(18);
    const longs = wireLongs(Array.from({ length: 32 }, (_, i) => halvesOf(i)));
    for (let round = 0; round < 10_000; round++) {
      for (let ptex = 0; ptex < 8; ptex++) table.store(ptex, 0, 1, 0, round);
      table.applyRecord(0, 32, 0, longs, 0);
      for (let ptex = 31; ptex > 2; ptex--) table.remove(ptex);
      table.removeRun(0, 32);
    }
    expect(table.validCount).toBe(0);
    // Room for 64 HPTEs is the least that a page can have.
    expect(table.blocks[0]!.words.length).toBeLessThanOrEqual(64 * 4);
  });
});

describe('records in ascending order', () => {
  test('are appended after all others, to the last group or a new one, within a page and beyond its end', () => {
    const pair = new Pair(21);
    for (const [step, count] of [1, 2, 40, 31, 33, 3, 64, 1].entries()) {
      pair.run({ do: 'applyRun', at: 65_200 + step * 70, count, seed: step });
    }
    pair.check();
  });

  test('go into a group whose HPTEs stand elsewhere, and one that was emptied', () => {
    const pair = new Pair(18);
    for (const at of [100, 70, 101, 3]) pair.run({ do: 'store', at, seed: at });
    pair.run({ do: 'applyRun', at: 102, count: 9, seed: 1 });
    pair.check();
    pair.run({ do: 'removeRun', at: 96, count: 32, seed: 0 });
    pair.run({ do: 'applyRun', at: 111, count: 5, seed: 2 });
    pair.check();
    pair.run({ do: 'applyRun', at: 97, count: 3, seed: 3 });
    pair.run({ do: 'applyRun', at: 130, count: 500, seed: 4 });
    pair.check();
  });
});

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
