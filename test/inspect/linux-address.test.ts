import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HptTable } from '../../lib/hpt/table.js';
import { kernelPagesOf } from '../../lib/inspect/kernel-pages.js';
import { linuxAddress, linuxPage } from '../../lib/inspect/linux-address.js';
import { linuxGuest } from '../../lib/inspect/linux-guest.js';
import type { KernelPages } from '../../lib/inspect/linux-regions.js';
import { tableStats } from '../../lib/inspect/table-stats.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { randomTable } from './random-table.js';
import { linuxTables, pagesOf } from './support.js';

const linearStart = 0xc000000000000000n;

/** Range of the addresses and number of the entries of each context of a table. */
function contextsOf(
  table: HptTable,
): Record<string, readonly [region: string, entries: number, from: string, to: string]> {
  const found = new Map<number, { region: string; entries: number; from: bigint; to: bigint }>();
  for (const [, page] of pagesOf(table)) {
    const { region, context, effectiveAddress: at } = linuxAddress(page!)!;
    const { entries = 0, from = at, to = at } = found.get(context) ?? {};
    found.set(context, { region, entries: entries + 1, from: at < from ? at : from, to: at > to ? at : to });
  }
  return Object.fromEntries(
    [...found].map(([context, { region, entries, from, to }]) => [
      context,
      [region, entries, from.toString(16), to.toString(16)],
    ]),
  );
}

describe('linuxAddress', () => {
  test('leads from each of the 183,593 entries of real guests to an address, and back', () => {
    const wrong: number[] = [];
    let entries = 0;
    for (const table of Object.values(linuxTables)) {
      for (const [ptex, page] of pagesOf(table)) {
        const { segment, basePageShift } = page!;
        const again = linuxPage({ ...linuxAddress(page!)!, segment, basePageShift });
        if (again.vsid !== page!.vsid || again.offset !== page!.offset) wrong.push(ptex);
        entries++;
      }
    }
    expect([entries, wrong]).toEqual([52_078 + 131_515, []]);
  });

  test('finds the kernel and the process of a guest of 1 GiB where they are', () => {
    expect(contextsOf(linuxTables['qemu-10.0.2-tcg-1g'])).toEqual({
      1: ['linear', 16_384, 'c000000000000000', 'c00000003fff0000'],
      5: ['vmalloc', 6, 'c008000000020000', 'c008000000390000'],
      7: ['vmemmap', 16, 'c00c000000000000', 'c00c0000000f0000'],
      10: ['process', 1406, '10000000', '7fffebc30000'],
    });
  });

  test('finds them in a guest with entries of 4 KiB, and the VRMA', () => {
    expect(contextsOf(linuxTables['qemu-10.0.2-kvm-6.12-p9hash-256m'])).toEqual({
      0: ['vrma', 65_536, '0', 'ffff000'],
      1: ['linear', 65_536, 'c000000000000000', 'c00000000ffff000'],
      5: ['vmalloc', 8, 'c008000000020000', 'c0080000002d2000'],
      6: ['io', 6, 'c00a000080000000', 'c00a000080120000'],
      7: ['vmemmap', 64, 'c00c000000000000', 'c00c00000003f000'],
      10: ['process', 365, '10000000', '7ffffd72c000'],
    });
  });

  test('and linuxPage undo each other for every context, address, segment and page size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 19 - 2 }),
        fc.bigInt({ min: 0n, max: 2n ** 49n - 1n }),
        fc.constantFrom('256M' as const, '1T' as const),
        fc.constantFrom(12 as const, 16 as const, 24 as const),
        fc.constantFrom<KernelPages>('4K', '64K'),
        (context, offset, segment, basePageShift, kernelPages) => {
          const page = linuxPage({ context, effectiveAddress: offset, segment, basePageShift });
          const address = linuxAddress(page, kernelPages)!;
          const mask = (1n << 49n) - (1n << BigInt(basePageShift));
          expect(address.context).toBe(context);
          expect(address.effectiveAddress & mask).toBe(offset & mask);
          expect(linuxPage({ ...address, segment, basePageShift })).toEqual(page);
        },
      ),
    );
  });

  test('knows no address of a VSID that Linux does not make', () => {
    const page = { offset: 0n, basePageShift: 12 } as const;
    expect(linuxAddress({ ...page, segment: '1T', vsid: 2n ** 28n - 1n })).toBeUndefined();
    expect(linuxAddress({ ...page, segment: '256M', vsid: 2n ** 49n })).toBeUndefined();
    expect(linuxAddress({ ...page, segment: '256M', vsid: 0n })).toBeUndefined();
  });

  test('places the regions of a kernel with pages of 4 KiB in the first 64 TiB', () => {
    const page = linuxPage({
      context: 2,
      effectiveAddress: 0xc0003d0000012000n,
      segment: '1T',
      basePageShift: 12,
    });
    expect(linuxAddress(page, '4K')).toEqual({
      region: 'vmalloc',
      context: 2,
      effectiveAddress: 0xc0003d0000012000n,
    });
  });
});

describe('linuxGuest', () => {
  test.each(Object.entries(linuxTables))('recognises %s, with no entry unknown', (_, table) => {
    const { kernelPages, contexts, unknown } = linuxGuest(tableStats(table))!;
    expect([kernelPages, unknown]).toEqual(['64K', 0]);
    expect(kernelPagesOf(table)).toBe('64K');
    const counts = contexts.map(({ context, region, entries }) => [context, region, entries]);
    expect(counts).toEqual(
      Object.entries(contextsOf(table)).map(([context, [region, entries]]) => [
        Number(context),
        region,
        entries,
      ]),
    );
  });

  test('recognises a kernel with pages of 4 KiB by the contexts it uses', () => {
    const table = new HptTable(18);
    const places = [
      [1, linearStart],
      [4, 0xc0003f0000000000n],
      [6, 0x10000000n],
    ] as const;
    for (const [context, effectiveAddress] of places) {
      const { vsid } = linuxPage({ context, effectiveAddress, segment: '1T', basePageShift: 12 });
      table.set(context * 8, (1n << 62n) | (vsid << 24n) | (context === 6 ? 1n : 0x11n), 0x190n);
    }
    const guest = linuxGuest(tableStats(table))!;
    expect([guest.kernelPages, kernelPagesOf(table)]).toEqual(['4K', '4K']);
    expect(guest.contexts.map(({ region }) => region)).toEqual(['linear', 'vmemmap', 'process']);
  });

  test('takes no other table for that of a Linux guest', async () => {
    const vm = new EmulatedVm();
    await vm.allocateHpt(20);
    new GuestWorkload(vm, { seed: 1 }).step(5000);
    for (const table of [vm.table!, new HptTable(18), ...[1, 2, 3].map((seed) => randomTable(seed))]) {
      expect(linuxGuest(tableStats(table))).toBeUndefined();
      expect(kernelPagesOf(table)).toBeUndefined();
    }
  });
});
