import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptTable } from '../../lib/hpt/table.js';

type Entry = readonly [ptex: number, v: bigint, r: bigint];

function tableOf(order: number, entries: readonly Entry[]): HptTable {
  const table = new HptTable(order);
  for (const [ptex, v, r] of entries) table.set(ptex, v, r);
  return table;
}

const entries = fc.uniqueArray(
  fc.tuple(
    fc.integer({ min: 0, max: 16_383 }),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  ),
  { selector: ([ptex]) => ptex, maxLength: 50, size: 'max' },
);

test('the digest is SHA-256 over order, indexes and HPTE bytes', () => {
  const sha = createHash('sha256').update('hpt order 18\n');
  sha.update(Buffer.from('05000000' + '4001ffffff000015' + '0000000000001190', 'hex'));
  sha.update(Buffer.from('00010000' + '0000000000000011' + '8000000000000190', 'hex'));
  const table = tableOf(18, [
    [0x100, 0x11n, 0x8000_0000_0000_0190n],
    [5, 0x4001_ffff_ff00_0055n, 0x1190n],
  ]);
  expect(digestTable(table)).toBe(sha.digest('hex'));
});

test('the digest of a table larger than one batch covers every entry', () => {
  const all = Array.from({ length: 10_000 }, (_, ptex): Entry => [ptex, 1n, BigInt(ptex)]);
  const digests = [0, 4095, 4096, 8191, 9999].map((left) =>
    digestTable(
      tableOf(
        18,
        all.filter(([ptex]) => ptex !== left),
      ),
    ),
  );
  expect(new Set([digestTable(tableOf(18, all)), ...digests]).size).toBe(6);
});

test('two tables have one digest exactly when they hold the same entries, however they came to', () => {
  fc.assert(
    fc.property(entries, entries, fc.integer({ min: 0, max: 16_383 }), (some, others, ptex) => {
      const table = tableOf(18, some);
      const again = tableOf(18, [...others, ...some.toReversed()]);
      for (const [other] of others) if (!table.has(other)) again.remove(other);
      expect(digestTable(again)).toBe(digestTable(table));
      expect(compareTables(again, table)).toEqual({ count: 0, ptexes: [] });

      if (!again.remove(ptex)) again.set(ptex, 1n, 0n);
      expect(digestTable(again)).not.toBe(digestTable(table));
      expect(compareTables(again, table)).toEqual({ count: 1, ptexes: [ptex] });
    }),
  );
});

test('only the kernel’s own bits of v, 0x60, may differ (3.1)', () => {
  const table = tableOf(18, [[7, 0x11n, 0n]]);
  for (let bit = 0n; bit < 128n; bit++) {
    const changed = tableOf(18, [[7, 0x11n ^ ((1n << bit) & (2n ** 64n - 1n)), (1n << bit) >> 64n]]);
    const same = bit === 5n || bit === 6n;
    expect(digestTable(changed) === digestTable(table), `bit ${bit}`).toBe(same);
    expect(compareTables(changed, table).count, `bit ${bit}`).toBe(same ? 0 : 1);
  }
});

test('tables of two orders differ in digest and cannot be compared', () => {
  expect(digestTable(new HptTable(18))).not.toBe(digestTable(new HptTable(19)));
  expect(() => compareTables(new HptTable(18), new HptTable(19))).toThrow(RangeError);
});

test('a comparison counts every difference and names the first sixteen', () => {
  const left = tableOf(
    18,
    Array.from({ length: 20 }, (_, i): Entry => [i * 800, 1n, 0n]),
  );
  expect(compareTables(left, new HptTable(18))).toEqual({
    count: 20,
    ptexes: Array.from({ length: 16 }, (_, i) => i * 800),
  });
});
