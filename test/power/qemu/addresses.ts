import assert from 'node:assert/strict';
import { compareTables } from '../../../lib/hpt/compare.js';
import { virtualPageOf } from '../../../lib/hpt/hash.js';
import { decodeHpte } from '../../../lib/hpt/hpte.js';
import type { HptTable } from '../../../lib/hpt/table.js';
import { findEntries } from '../../../lib/inspect/find-entries.js';
import { linuxAddress } from '../../../lib/inspect/linux-address.js';
import { linuxGuest, type LinuxGuest } from '../../../lib/inspect/linux-guest.js';
import { tableStats } from '../../../lib/inspect/table-stats.js';
import { readTableFile } from '../../../lib/qemu/guest-file.js';
import type { Test } from '../runner.js';
import { readAttached } from './attached.js';
import type { Qemu } from './qemu.js';
import type { SharedGuest } from './shared-guest.js';

const LINEAR = 0xc000000000000000n;

/**
 * What a table tells of addresses, beside what the guest itself does. Debian's kernels have no `kernel_hash_pagetable` (it needs
 * CONFIG_PTDUMP_DEBUGFS), so the guest tells from /proc/kallsyms and /proc/self/pagemap.
 *
 * They come before the tests that move the guest: it tells on the console of the QEMU that boots it.
 */
export function addressTests(test: Test, guest: SharedGuest): void {
  test('entries lead to the addresses, and to the memory, that the guest tells', async (t) => {
    const qemu = await guest.qemu(t.signal);
    await qemu.works(t.signal);
    const table = await stoppedTable(qemu);
    const linux = linuxGuest(tableStats(table));
    assert.ok(linux !== undefined && linux.unknown === 0);
    const { text, pages } = qemu.view();
    for (const address of [text[0], text[1] - 1n]) {
      const found = memoryOf(table, address, 1);
      assert.deepEqual(found, [{ memory: address - LINEAR, executable: true }]);
    }
    const linear = checkLinear(table);
    assert.ok(pages.length > 0);
    const context = contextOf(table, linux, pages[0]![0]);
    for (const [address, memory] of pages) {
      assert.deepEqual(memoryOf(table, address, context), [{ memory, executable: false }]);
    }
    t.note(`${linear} entries of the linear mapping, ${pages.length} pages of context ${context}`);
  });

  test("KVM's debugfs text of a stopped guest gives the table that its descriptor does", async (t) => {
    const qemu = await guest.qemu(t.signal);
    await qemu.qmp.execute('stop');
    const read = await readAttached(qemu);
    const { order } = read;
    const { table } = await readTableFile(qemu.debugfsPath, { order });
    await qemu.qmp.execute('cont');
    assert.deepEqual({ ...compareTables(read, table) }, { count: 0, ptexes: [] });
    await qemu.works(t.signal);
  });
}

async function stoppedTable(qemu: Qemu): Promise<HptTable> {
  await qemu.qmp.execute('stop');
  try {
    return await readAttached(qemu);
  } finally {
    await qemu.qmp.execute('cont');
  }
}

/** Where an address of a context lies in the guest's memory, by each entry that maps it. */
function memoryOf(
  table: HptTable,
  effectiveAddress: bigint,
  context: number,
): { readonly memory: bigint; readonly executable: boolean }[] {
  return findEntries(table, { effectiveAddress, context }).map(({ v, r }) => {
    const { guestAddress, actualPageShift, noExecute } = decodeHpte(v, r)!;
    const inPage = effectiveAddress & ((1n << BigInt(actualPageShift)) - 1n);
    return { memory: guestAddress | inPage, executable: !noExecute };
  });
}

/** The process that has this address: no other is told where it lies. */
function contextOf(table: HptTable, { contexts }: LinuxGuest, address: bigint): number {
  const processes = contexts.filter(({ region }) => region === 'process').map(({ context }) => context);
  const found = processes.filter((context) => memoryOf(table, address, context).length > 0);
  assert.equal(found.length, 1);
  return found[0]!;
}

/** The linear mapping gives each address the memory that is as far from its beginning. @returns its entries */
function checkLinear(table: HptTable): number {
  let entries = 0;
  for (const [ptex, { v, r }] of table) {
    const page = virtualPageOf(ptex, v, r, table.order);
    const address = page && linuxAddress(page);
    if (address?.region !== 'linear') continue;
    entries++;
    assert.equal(decodeHpte(v, r)!.guestAddress, address.effectiveAddress - LINEAR);
  }
  assert.ok(entries > 0);
  return entries;
}
