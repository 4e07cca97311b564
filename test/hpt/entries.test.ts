import { expect, test } from 'vitest';
import { findValid, forEachValid } from '../../lib/hpt/entries.js';
import { HptTable } from '../../lib/hpt/table.js';
import { swapBigEndian } from '../../lib/hpt/byte-order.js';

const PTEXES = [3, 31, 32, 70_000, 70_001, 200_000];

function sparseTable(): HptTable {
  const table = new HptTable(24);
  for (const ptex of PTEXES.toReversed()) table.store(ptex, ptex, 1, 0, 0);
  return table;
}

test('valid entries are visited in ascending order, each with its HPTE', () => {
  const seen: [number, number][] = [];
  forEachValid(sparseTable(), (ptex, words, word) => seen.push([ptex, swapBigEndian(words[word]!)]));
  expect(seen).toEqual(PTEXES.map((ptex) => [ptex, ptex]));
});

test('a search looks no further than the entry it is for', () => {
  const looked: number[] = [];
  const found = findValid(sparseTable(), (ptex) => {
    looked.push(ptex);
    return ptex >= 32;
  });
  expect(found).toBe(32);
  expect(looked).toEqual([3, 31, 32]);
  expect(findValid(sparseTable(), () => false)).toBeUndefined();
});
