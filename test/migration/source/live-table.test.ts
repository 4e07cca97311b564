import { expect, test } from 'vitest';
import { HptReader } from '../../../lib/io/reader.js';
import { EntryRules } from '../../../lib/migration/compatibility.js';
import { LiveTable } from '../../../lib/migration/source/live-table.js';
import type { Source } from '../../../lib/migration/source/source.js';
import { EmulatedVm } from '../../../lib/vm/emulated/emulated-vm.js';

const RULES = new EntryRules(null);

/** A table of order 18, read through a descriptor that begins at this entry. */
async function liveTable(startIndex: number): Promise<LiveTable> {
  const vm = new EmulatedVm();
  await vm.allocateHpt(18);
  const access = {
    order: () => 18,
    open: async () => new HptReader(await vm.openHtab({ startIndex }), { order: 18 }),
  } as unknown as Source;
  return LiveTable.open(access, 4096);
}

async function leaveAtFirstRecords(table: LiveTable): Promise<void> {
  for await (const _chunk of table.pass(RULES, undefined)) break;
}

test('LiveTable refuses an order that has no table before it opens a reader', async () => {
  let opened = 0;
  const access = {
    order: () => 47,
    open: () => {
      opened++;
      return Promise.resolve({});
    },
  } as unknown as Source;
  await expect(LiveTable.open(access, 4096)).rejects.toThrow(RangeError);
  expect(opened).toBe(0);
});

test('LiveTable refuses an incomplete first pass also where the pass was left at its last records', async () => {
  const table = await liveTable(100);
  await leaveAtFirstRecords(table);
  await expect(leaveAtFirstRecords(table)).rejects.toMatchObject({ code: 'ERR_HTAB_STATE', state: 'lost' });
  await table.close();
});

test('LiveTable goes on after a whole first pass that was left at its last records', async () => {
  const table = await liveTable(0);
  await leaveAtFirstRecords(table);
  await leaveAtFirstRecords(table);
  expect(table.quiescent).toBe(true);
  expect(table.showsChanges).toBe(true);
  await table.close();
});
