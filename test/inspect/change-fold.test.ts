import { describe, expect, test } from 'vitest';
import { compareTables } from '../../lib/hpt/compare.js';
import type { ChangedPart } from '../../lib/hpt/entry-changes.js';
import { virtualPageOf } from '../../lib/hpt/hash.js';
import { HptTable } from '../../lib/hpt/table.js';
import { ChangeFold } from '../../lib/inspect/change-fold.js';
import { contextChanges } from '../../lib/inspect/context-changes.js';
import { incompletePassError } from '../../lib/io/other-table.js';
import { HptReader } from '../../lib/io/reader.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { GuestWorkload } from '../../lib/vm/emulated/guest-workload.js';
import { linuxTables } from '../inspect/support.js';

const CELLS = 16;
const ORDER = 20;

async function readPass(reader: HptReader, fold: ChangeFold): Promise<void> {
  fold.beginPass();
  for await (const records of reader.pass()) fold.add(records);
  fold.endPass();
}

function copyOf(table: HptTable): HptTable {
  const copy = new HptTable(table.order);
  for (const [ptex, { v, r }] of table) copy.set(ptex, v, r);
  return copy;
}

/** The same from the two tables, entry by entry. */
function plainChanges(before: HptTable, after: HptTable): object {
  const counts = { come: 0, gone: 0, changed: 0, marksOnly: 0 };
  const parts: Partial<Record<ChangedPart, number>> = {};
  const cells = new Float64Array(CELLS);
  for (const change of compareTables(before, after).changes()) {
    counts[change.kind]++;
    cells[Math.floor((change.ptex * CELLS) / before.entryCount)]!++;
    if (change.kind !== 'changed') continue;
    for (const part of change.parts) parts[part] = (parts[part] ?? 0) + 1;
    if (change.parts.join() === 'marks') counts.marksOnly++;
  }
  return { ...counts, parts, cells };
}

describe('the changes of a pass', () => {
  test.each([1, 2, 3])('are those between the tables before and after it, seed %i', async (seed) => {
    const vm = new EmulatedVm();
    await vm.allocateHpt(ORDER);
    const guest = new GuestWorkload(vm, { seed });
    guest.step(4000);
    const fold = new ChangeFold(new HptTable(ORDER), CELLS, incompletePassError);
    await using reader = await HptReader.open(vm);
    await readPass(reader, fold);
    expect(fold.takeChanges()).toMatchObject({ come: 0, gone: 0, changed: 0 });
    for (const steps of [0, 50, 2000, 0]) {
      const before = copyOf(fold.table);
      guest.step(steps);
      await readPass(reader, fold);
      const { segments, ...changes } = fold.takeChanges();
      expect(changes).toEqual(plainChanges(before, fold.table));
      expect(segments.reduce((sum, { come, gone, changed }) => sum + come + gone + changed, 0)).toBe(
        changes.come + changes.gone + changes.changed,
      );
    }
  });

  test('count by the segment and the context of their page', async () => {
    const known = linuxTables['qemu-10.0.2-p9hash-1g'];
    const vm = new EmulatedVm();
    await vm.allocateHpt(known.order);
    const handle = await vm.openHtab({ access: 'write' });
    const fold = new ChangeFold(new HptTable(known.order), CELLS, incompletePassError);
    await using reader = await HptReader.open(vm);
    await readPass(reader, fold);
    const entries = [...known].slice(0, 2000);
    for (const [ptex, { v, r }] of entries) {
      const record = Buffer.alloc(24);
      record.writeUInt32LE(ptex, 0);
      record.writeUInt16LE(1, 4);
      record.writeBigUInt64BE(v & ~0x40n, 8);
      record.writeBigUInt64BE(r, 16);
      await handle.writeRecords(record);
    }
    await handle.close();
    await readPass(reader, fold);
    const { segments } = fold.takeChanges();
    const expected = new Map<bigint, number>();
    for (const [ptex, { v, r }] of entries) {
      const { vsid } = virtualPageOf(ptex, v, r, known.order)!;
      expected.set(vsid, (expected.get(vsid) ?? 0) + 1);
    }
    expect(new Map(segments.map(({ vsid, come }) => [vsid, come]))).toEqual(expected);
    const contexts = contextChanges(segments, '64K');
    expect(contexts[0]!.come).toBeGreaterThanOrEqual(contexts.at(-1)!.come);
    expect(contexts.map(({ region }) => region)).toContain('linear');
    expect(contextChanges(segments, undefined)).toEqual([
      { region: 'other', context: 0, come: 2000, gone: 0, changed: 0 },
    ]);
  });
});
