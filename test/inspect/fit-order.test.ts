import { describe, expect, test } from 'vitest';
import { HtabStateError, HtabSystemError } from '../../lib/base/errors.js';
import { encodeAvpn } from '../../lib/hpt/hash.js';
import { encodeHpte } from '../../lib/hpt/hpte.js';
import { HptTable } from '../../lib/hpt/table.js';
import { fitOrder, type Fit } from '../../lib/inspect/fit-order.js';
import { linuxPage } from '../../lib/inspect/linux-address.js';
import { loadTable } from '../../lib/io/table-writer.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { randomTable } from './random-table.js';
import { linuxTables } from './support.js';

/** A VM with this table; entries that no kernel takes are left out. */
async function vmWith(table: HptTable): Promise<EmulatedVm> {
  const vm = new EmulatedVm({ pageShift: 16 });
  await loadTable(vm, table);
  vm.enterGuest();
  return vm;
}

/** How the emulated kernel's COMMIT ends. */
async function commit(vm: EmulatedVm, order: number): Promise<Fit['verdict']> {
  try {
    while ((await vm.prepareHptResize(order)) > 0);
    await vm.commitHptResize(order);
    return 'fits';
  } catch (error) {
    if (error instanceof HtabStateError && error.state === 'would-crash') return 'would-crash';
    if (error instanceof HtabSystemError && error.errnoName === 'ENOSPC') return 'no-space';
    throw error;
  }
}

describe('fitOrder', () => {
  test('predicts how the COMMIT of 200 random tables ends, and what is left', async () => {
    const verdicts = new Map<string, number>();
    for (let seed = 0; seed < 200; seed++) {
      const order = 18 + (seed % 3);
      const newOrder = 18 + (Math.floor(seed / 3) % 4);
      const share = 0.001 * 2 ** (seed % 8);
      const vm = await vmWith(randomTable(seed, { order, share, healthy: seed % 2 === 0, readable: true }));
      const fit = fitOrder(vm.table!, newOrder);
      expect(await commit(vm, newOrder), `seed ${seed}`).toBe(fit.verdict);
      verdicts.set(fit.verdict, (verdicts.get(fit.verdict) ?? 0) + 1);
      if (fit.verdict !== 'fits') continue;
      const groups = new Array<number>(2 ** (newOrder - 7)).fill(0);
      for (const [ptex] of vm.table!) groups[Math.floor(ptex / 8)]!++;
      expect(vm.table!.validCount).toBe(fit.bolted);
      expect(fit.occupancy).toEqual(
        Array.from({ length: 9 }, (_, held) => groups.filter((group) => group === held).length),
      );
    }
    expect([...verdicts.keys()].sort()).toEqual(['fits', 'no-space', 'would-crash']);
    expect(Math.min(...verdicts.values())).toBeGreaterThan(10);
  });

  test('names the entries that would meet, and where', () => {
    const table = new HptTable(19);
    table.set(40, 0x11n, 0x190n);
    table.set(2053 * 8, 0x91n, 0x1190n);
    table.set(3, 0x1n, 0x190n);
    expect(fitOrder(table, 18)).toEqual({
      order: 18,
      verdict: 'no-space',
      bolted: 2,
      dropped: 1,
      meetingCount: 1,
      meetings: [{ target: 40, ptexes: [40, 2053 * 8] }],
      occupancy: [2047, 1, 0, 0, 0, 0, 0, 0, 0],
      load: 3 / 2 ** 14,
    });
  });

  test('names 16 meetings of a guest whose linear mapping finds no place in a small table', () => {
    const table = linuxTables['qemu-10.0.2-tcg-1g'];
    const { verdict, bolted, meetings, meetingCount } = fitOrder(table, 18);
    expect([verdict, bolted, meetings.length]).toEqual(['no-space', 16_400, 16]);
    expect(meetingCount).toBeGreaterThan(1000);
    for (const { ptexes } of meetings) expect(ptexes.length).toBeGreaterThan(1);
    expect(fitOrder(table, 24).verdict).toBe('fits');
  });

  test('finds room for bolted entries of 16 MiB by their address alone', () => {
    const table = new HptTable(18);
    const page = linuxPage({
      context: 1,
      effectiveAddress: 0xc000000000000000n,
      segment: '1T',
      basePageShift: 24,
    });
    const { v, r } = encodeHpte({ valid: true, bolted: true, segment: '1T', basePageShift: 24 });
    for (const ptex of [8, 16]) table.set(ptex, v | encodeAvpn(page), r);
    expect(fitOrder(table, 20)).toMatchObject({ verdict: 'would-crash', meetings: [{ ptexes: [8, 16] }] });
  });
});
