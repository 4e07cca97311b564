import assert from 'node:assert/strict';
import { RecordCursor } from '../../lib/records/cursor.js';
import { RecordEncoder } from '../../lib/records/encoder.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { entryCount } from '../../lib/hpt/geometry.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { HptTable } from '../../lib/hpt/table.js';
import { swapBigEndian } from '../../lib/hpt/byte-order.js';
import { HptReader } from '../../lib/io/reader.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import type { Test, TestContext } from './runner.js';

const ORDER = 26;
const ENTRIES = entryCount(ORDER);
const CHUNK_ENTRIES = 4096;

/** Tables of a size that real guests have: written whole, read whole, and then quiet. */
export function largeTablesSuite(test: Test): void {
  test(
    `a table of order ${ORDER} with one entry in 4096 valid comes back as written`,
    (t) => roundTrip(t, 4096),
    {
      timeoutMs: 300_000,
    },
  );
  test(`a table of order ${ORDER} with every entry valid comes back as written`, (t) => roundTrip(t, 1), {
    timeoutMs: 900_000,
  });
}

/** @param step every how manieth entry is valid */
async function roundTrip(t: TestContext, step: number): Promise<void> {
  await using vm = await KvmVm.create();
  await vm.allocateHpt(ORDER);
  const written = new HptTable(ORDER);
  const begun = performance.now();
  {
    await using writer = await vm.openHtab({ access: 'write' });
    for (let first = 0; first < ENTRIES; first += CHUNK_ENTRIES * step) {
      t.signal.throwIfAborted();
      await writer.writeRecords(fill(written, first, step));
    }
  }
  const filled = performance.now();
  const read = new HptTable(ORDER);
  const cursor = new RecordCursor({ order: ORDER });
  await using reader = await HptReader.open(vm);
  for await (const chunk of reader.pass()) {
    cursor.push(chunk);
    foldRecords(cursor, read);
  }
  const passed = performance.now();
  assert.equal(read.validCount, ENTRIES / step);
  assert.deepEqual({ ...compareTables(written, read) }, { count: 0, ptexes: [] });
  for await (const chunk of reader.pass()) assert.fail(`a quiet table brought ${chunk.length} bytes`);
  assert.ok(reader.quiescent);
  const seconds = (from: number, to: number): string => `${((to - from) / 1000).toFixed(1)} s`;
  t.note(
    `${read.validCount} entries: written in ${seconds(begun, filled)}, read in ${seconds(filled, passed)}`,
  );
}

/** Puts the next entries into the table and gives the records that say the same: entry i maps page i to page i. */
function fill(table: HptTable, first: number, step: number): Uint8Array {
  const count = Math.min(CHUNK_ENTRIES, (ENTRIES - first) / step);
  const words = new Uint32Array(count * 4);
  for (let entry = 0; entry < count; entry++) {
    const ptex = first + entry * step;
    words[entry * 4] = swapBigEndian(ptex >>> 20);
    words[entry * 4 + 1] = swapBigEndian(((ptex << 12) | 1) >>> 0);
    words[entry * 4 + 2] = words[entry * 4]!;
    words[entry * 4 + 3] = swapBigEndian(((ptex << 12) | 0x12) >>> 0);
  }
  const parts: Uint8Array[] = [];
  const encoder = new RecordEncoder((records) => parts.push(records), { bufferBytes: 1 << 17 });
  const bytes = new Uint8Array(words.buffer);
  const longs = new BigUint64Array(words.buffer);
  const runEntries = step === 1 ? count : 1;
  for (let entry = 0; entry < count; entry += runEntries) {
    const ptex = first + entry * step;
    table.applyRecord(ptex, runEntries, 0, longs, entry * 2);
    encoder.add(ptex, runEntries, 0, bytes, entry * 16);
  }
  encoder.flush();
  return Buffer.concat(parts);
}
