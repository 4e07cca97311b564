import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareTables } from '../../lib/hpt/compare.js';
import { HptTable } from '../../lib/hpt/table.js';
import type { ChangedPart } from '../../lib/hpt/entry-changes.js';

function tableOf(entries: readonly (readonly [number, bigint, bigint])[], order = 18): HptTable {
  const table = new HptTable(order);
  for (const [ptex, v, r] of entries) table.set(ptex, v, r);
  return table;
}

const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const entries = fc.array(
  // Few entries and few values, so that tables have much in common.
  fc.tuple(
    fc.integer({ min: 0, max: 40 }),
    fc.oneof(fc.constant(0x11n), word),
    fc.oneof(fc.constant(0x190n), word),
  ),
);

describe('changes of compareTables', () => {
  test('applied to the first table give the second', () => {
    fc.assert(
      fc.property(entries, entries, (before, after) => {
        const a = tableOf(before);
        const b = tableOf(after);
        const difference = compareTables(a, b);
        const changes = [...difference.changes()];
        expect(changes.length).toBe(difference.count);
        expect(changes.slice(0, 16).map(({ ptex }) => ptex)).toEqual(difference.ptexes);
        for (const change of changes) {
          if (change.kind === 'gone') a.remove(change.ptex);
          else a.set(change.ptex, change.after.v, change.after.r);
          if (change.kind === 'changed') expect(change.parts).not.toEqual([]);
        }
        expect(compareTables(a, b).count).toBe(0);
      }),
    );
  });

  test('name the entries that are gone, come and changed, with their values', () => {
    const a = tableOf([
      [1, 0x11n, 0x190n],
      [2, 0x11n, 0x190n],
      [3, 0x11n, 0x190n],
    ]);
    const b = tableOf([
      [2, 0x71n, 0x190n],
      [3, 0x11n, 0x110n],
      [16_383, 0x11n, 0x190n],
    ]);
    expect([...compareTables(a, b).changes()]).toEqual([
      { kind: 'gone', ptex: 1, before: { v: 0x11n, r: 0x190n } },
      {
        kind: 'changed',
        ptex: 3,
        before: { v: 0x11n, r: 0x190n },
        after: { v: 0x11n, r: 0x110n },
        parts: ['marks'],
      },
      { kind: 'come', ptex: 16_383, after: { v: 0x11n, r: 0x190n } },
    ]);
  });

  test.each<readonly [string, bigint, bigint, readonly ChangedPart[]]>([
    ['R and C', 0n, 0x180n, ['marks']],
    ['pp', 0n, 0x2n, ['protection']],
    ['pp0', 0n, 1n << 63n, ['protection']],
    ['N and the key', 0n, 0x3000_0000_0000_0e04n, ['protection']],
    ['WIMG', 0n, 0x28n, ['cache']],
    ['bolted', 0x10n, 0n, ['flags']],
    ['an address bit above the LP code', 0n, 0x10_0000n, ['address']],
    ['the hash', 0x2n, 0n, ['page']],
    ['the AVPN, the address and C', 0x80n, 0x100_0080n, ['page', 'address', 'marks']],
    // 64K in place of 16M in a segment of 64K pages: what was the LP code are address bits.
    ['the LP code', 0n, 0x19000n, ['page', 'address']],
    ['L', 0x4n, 0n, ['page', 'address']],
  ])('tell that %s differs', (_, v, r, parts) => {
    const before = [8, 0x15n, 0x8190n] as const;
    const a = tableOf([before]);
    const b = tableOf([[8, before[1] ^ v, before[2] ^ r]]);
    expect([...compareTables(a, b).changes()]).toMatchObject([{ kind: 'changed', parts }]);
  });
});
