import { describe, expect, test } from 'vitest';
import type { OpenFresh } from '../../lib/io/fresh-look.js';
import { HptReader } from '../../lib/io/reader.js';
import { readTable } from '../../lib/io/read-table.js';
import { seemsReplaced } from '../../lib/io/seems-replaced.js';
import { compareTables } from '../../lib/hpt/compare.js';
import type { HptTable } from '../../lib/hpt/table.js';
import { RecordCursor } from '../../lib/records/cursor.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { resizeTable } from '../../lib/testing/resize.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { bootGuest } from '../migration/harness/test-guest.js';

const ORDER = 18;

/** Looks once, and brings what is known up to date. */
async function look(known: HptTable, source: HtabVm | OpenFresh, looks: Uint8Array[] = []): Promise<boolean> {
  const take = (records: Uint8Array): void => {
    const cursor = new RecordCursor({ order: known.order });
    cursor.push(records);
    foldRecords(cursor, known);
    looks.push(records);
  };
  return seemsReplaced(known, source, take, undefined);
}

async function bolted(count: number): Promise<EmulatedVm> {
  const vm = new EmulatedVm({ host: 'power9' });
  await vm.allocateHpt(ORDER);
  for (let k = 0; k < count; k++) {
    vm.hcall(0x08, [1n << 39n, BigInt(k * 64), 0x11n | (BigInt(k) << 12n), 0x10190n + (BigInt(k) << 16n)]);
  }
  return vm;
}

describe('seemsReplaced', () => {
  test('takes a guest that changes some of its entries for what it is', async () => {
    const { vm, workload } = await bootGuest();
    const known = await readTable(vm);
    for (let k = 0; k < 20; k++) {
      workload.step(50);
      expect(await look(known, vm)).toBe(false);
    }
  });

  test('gives all that its looks have read, at most nine of them', async () => {
    const { vm, workload } = await bootGuest();
    const known = await readTable(vm);
    await using reader = await HptReader.open(vm);
    for await (const _ of reader.pass());
    workload.step(2000);
    const looks: Uint8Array[] = [];
    await look(known, vm, looks);
    expect(looks.length).toBeLessThanOrEqual(9);
    // What the looks took from this reader, and what it still gets, is all that has changed.
    for await (const records of reader.pass()) {
      const cursor = new RecordCursor({ order: ORDER });
      cursor.push(records);
      foldRecords(cursor, known);
    }
    expect(compareTables(vm.table!, known).count).toBe(0);
  });

  test('suspects a table that was emptied', async () => {
    const vm = await bolted(100);
    const known = await readTable(vm);
    await vm.allocateHpt(ORDER);
    expect(await look(known, vm)).toBe(true);
  });

  test('suspects a table that has lost all but its bolted entries', async () => {
    const { vm } = await bootGuest();
    const known = await readTable(vm);
    await resizeTable(vm, ORDER);
    expect(await look(known, vm)).toBe(true);
    // The entries that are known by then are there.
    expect(await look(await readTable(vm), vm)).toBe(false);
  });

  test('is told nothing by one or two entries', async () => {
    const vm = await bolted(2);
    const known = await readTable(vm);
    await vm.allocateHpt(ORDER);
    expect(await look(known, vm)).toBe(false);
  });

  test.each([18, 20])('refuses a table of order %i that had order 19', async (order) => {
    const vm = new EmulatedVm({ host: 'power9' });
    await vm.allocateHpt(19);
    const known = await readTable(vm);
    await vm.allocateHpt(order);
    const opener: OpenFresh = (startIndex) => vm.openHtab({ startIndex });
    await expect(look(known, opener)).rejects.toMatchObject({ state: 'order-changed' });
  });

  test('refuses a guest that has gone radix, also where descriptors begin at entry 0 only', async () => {
    const vm = await bolted(10);
    const known = await readTable(vm);
    const opener: OpenFresh = () => vm.openHtab();
    expect(await look(known, opener)).toBe(false);
    await vm.configureMmu('radix');
    await expect(look(known, opener)).rejects.toMatchObject({ reason: 'no-table' });
  });
});
