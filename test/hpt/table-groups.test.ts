import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { halvesOf, wireLongs, Pair } from './table-pair.js';

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
