import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../lib/base/random.js';
import { virtualPageOf } from '../../lib/hpt/hash.js';
import { decodeHpte } from '../../lib/hpt/hpte.js';
import { HptTable } from '../../lib/hpt/table.js';
import { findEntries, type EntryQuery } from '../../lib/inspect/find-entries.js';
import { linuxAddress } from '../../lib/inspect/linux-address.js';
import { randomTable } from './random-table.js';
import { linuxTables } from './support.js';

/** The same, by looking at every entry. */
function scan(table: HptTable, query: EntryQuery): number[] {
  return [...table].flatMap(([ptex, { v, r }]) => {
    const hpte = decodeHpte(v, r);
    const page = virtualPageOf(ptex, v, r, table.order);
    if ('guestAddress' in query) {
      const from = hpte?.guestAddress ?? 0n;
      const matches =
        hpte !== undefined &&
        query.guestAddress >= from &&
        query.guestAddress < from + (1n << BigInt(hpte.actualPageShift));
      return matches ? [ptex] : [];
    }
    if (page === undefined) return [];
    const has = (first: bigint, address: bigint): boolean =>
      address >= first && address < first + (1n << BigInt(page.basePageShift));
    if ('vsid' in query) return page.vsid === query.vsid && has(page.offset, query.offset) ? [ptex] : [];
    const address = linuxAddress(page);
    const same = address?.context === query.context && has(address.effectiveAddress, query.effectiveAddress);
    return same ? [ptex] : [];
  });
}

const found = (table: HptTable, query: EntryQuery): number[] =>
  findEntries(table, query).map(({ ptex }) => ptex);

describe('findEntries', () => {
  test.each([1, 2, 3])('finds in random table %i what a scan finds', (seed) => {
    const table = randomTable(seed);
    const random = new SeededRandom(seed);
    let hits = 0;
    for (let k = 0; k < 40; k++) {
      const ptex = table.nthValid(random.below(table.validCount));
      const { v, r } = table.get(ptex)!;
      const page = virtualPageOf(ptex, v, r, table.order);
      const hpte = decodeHpte(v, r);
      if (page === undefined || hpte === undefined) continue;
      const within = BigInt(random.below(4096));
      const queries: EntryQuery[] = [
        { vsid: page.vsid, offset: page.offset + within },
        { guestAddress: hpte.guestAddress + within },
      ];
      const address = linuxAddress(page);
      if (address !== undefined && address.region !== 'vrma') {
        const { context, effectiveAddress } = address;
        queries.push({ context, effectiveAddress: effectiveAddress + within });
      }
      for (const query of queries) {
        const ptexes = found(table, query);
        expect(ptexes).toEqual(scan(table, query));
        expect(ptexes).toContain(ptex);
        hits += ptexes.length;
      }
    }
    expect(hits).toBeGreaterThan(40);
  });

  test('finds kernel text and the VRMA of a real guest', () => {
    const table = linuxTables['qemu-10.0.2-kvm-6.12-p9hash-256m'];
    for (const query of [
      { effectiveAddress: 0xc000000000008123n, context: 1 },
      { effectiveAddress: 0x8000n, context: 0 },
      { guestAddress: 0x8000n },
    ]) {
      expect(found(table, query)).toEqual(scan(table, query));
      expect(found(table, query).length).toBeGreaterThan(0);
    }
  });

  test('gives the values of what it finds', () => {
    const table = new HptTable(18);
    table.set(5, 0x11n, 0x190n);
    expect(findEntries(table, { vsid: 0n, offset: 0xfffn })).toEqual([{ ptex: 5, v: 0x11n, r: 0x190n }]);
    expect(findEntries(table, { vsid: 0n, offset: 0x1000n })).toEqual([]);
  });

  test.each([
    { vsid: 1n << 50n, offset: 0n },
    { vsid: 0n, offset: 1n << 40n },
    { guestAddress: 1n << 60n },
    { effectiveAddress: 0n, context: 2 ** 19 },
    { effectiveAddress: -1n, context: 1 },
  ])('refuses what no table has: %s', (query) => {
    expect(() => findEntries(new HptTable(18), query)).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }) as Error,
    );
  });
});
