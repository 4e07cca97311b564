import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { RecordCursor } from '../../lib/records/cursor.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { HptTable } from '../../lib/hpt/table.js';
import { SeededRandom } from '../../lib/base/random.js';
import { cutAt, hpte, record, run } from './streams.js';

/** The valid entries of a table, as ptex and r. */
function contents(table: HptTable): [number, bigint][] {
  const entries: [number, bigint][] = [];
  for (let ptex = table.valid.next(0); ptex < table.entryCount; ptex = table.valid.next(ptex + 1)) {
    entries.push([ptex, table.get(ptex)!.r]);
  }
  return entries;
}

/** A table with entries 0..9, whose r is 1 to 10. */
function tenEntries(): HptTable {
  const table = new HptTable(18);
  for (let ptex = 0; ptex < 10; ptex++) table.set(ptex, 0x41n, BigInt(ptex + 1));
  return table;
}

test('records store, remove and leave alone', () => {
  const table = tenEntries();
  const cursor = new RecordCursor({ order: 18 });
  cursor.push(
    Buffer.concat([record(2, [hpte(0x51n, 100n)], 2), record(9, [], 3), record(16_383, [hpte(1n, 7n)])]),
  );
  expect(foldRecords(cursor, table)).toEqual({ records: 3, validEntries: 2, invalidEntries: 5 });
  expect(contents(table)).toEqual([
    [0, 1n],
    [1, 2n],
    [2, 100n],
    [5, 6n],
    [6, 7n],
    [7, 8n],
    [8, 9n],
    [16_383, 7n],
  ]);
  expect(table.get(2)).toEqual({ v: 0x51n, r: 100n });
  expect(table.dirty.count).toBe(0);
});

test('a later record overrides an earlier one', () => {
  const table = new HptTable(18);
  const cursor = new RecordCursor({ order: 18 });
  cursor.push(Buffer.concat([record(4, run(4)), record(5, [hpte(1n, 55n)], 1), record(7, [], 1)]));
  foldRecords(cursor, table);
  expect(contents(table)).toEqual([
    [4, 0x190n],
    [5, 55n],
  ]);
});

test('however a stream is cut it gives the same table and the same sums', () => {
  const stream = Buffer.concat([record(1, run(5), 9), record(20, [], 1), record(30, run(2, 5), 1)]);
  const whole = new HptTable(18);
  const cursor = new RecordCursor({ order: 18 });
  cursor.push(stream);
  const expected = foldRecords(cursor, whole);
  for (let cut = 1; cut < stream.length; cut++) {
    const table = new HptTable(18);
    const sums = { records: 0, validEntries: 0, invalidEntries: 0 };
    const parts = new RecordCursor({ order: 18 });
    for (const chunk of cutAt(stream, [cut])) {
      parts.push(chunk);
      const { records, validEntries, invalidEntries } = foldRecords(parts, table);
      sums.records += records;
      sums.validEntries += validEntries;
      sums.invalidEntries += invalidEntries;
    }
    parts.finish();
    expect(sums).toEqual(expected);
    expect(contents(table)).toEqual(contents(whole));
  }
});

test('what stands before a bad record is applied, of the record itself nothing', () => {
  const table = tenEntries();
  const cursor = new RecordCursor({ order: 18 });
  cursor.push(Buffer.concat([record(0, [], 5), record(5, [...run(1), hpte(0n, 0n)], 5)]));
  expect(() => foldRecords(cursor, table)).toThrow(HtabFormatError);
  expect(contents(table).map(([ptex, r]) => [ptex, r])).toEqual([
    [5, 6n],
    [6, 7n],
    [7, 8n],
    [8, 9n],
    [9, 10n],
  ]);
});

test('a cursor that reaches further than the table is refused before anything is applied', () => {
  const table = tenEntries();
  for (const cursor of [new RecordCursor(), new RecordCursor({ order: 19 })]) {
    cursor.push(record(0, [], 5));
    expect(() => foldRecords(cursor, table)).toThrow(RangeError);
  }
  expect(table.validCount).toBe(10);
});

test('records give what a plain list of entries gives, in whatever order a page has been filled and emptied', () => {
  const random = new SeededRandom(7);
  for (let program = 0; program < 12; program++) {
    const table = new HptTable(20);
    const model = new Uint32Array(table.entryCount);
    let serial = 1;
    for (let step = 0; step < 4; step++) {
      const stream: Buffer[] = [];
      const report = (index: number, valid: number, invalid: number): void => {
        stream.push(record(index, run(valid, serial), invalid));
        for (let k = 0; k < valid; k++) model[index + k] = serial++;
        model.fill(0, index + valid, index + valid + invalid);
      };
      // Either a pass over part of the table, of any density, or records here and there.
      const ascending = random.chance(0.5);
      const longest = 1 + random.below(48);
      for (let at = random.below(model.length), left = 3000; left > 0 && at < model.length; left--) {
        const valid = Math.min(random.below(longest), model.length - at);
        const invalid = Math.min(random.below(64 - longest), model.length - at - valid);
        if (valid + invalid > 0) report(at, valid, invalid);
        at = ascending ? at + valid + invalid + 1 : random.below(model.length);
      }
      const cursor = new RecordCursor({ order: 20, ascending });
      cursor.push(Buffer.concat(stream));
      expect(foldRecords(cursor, table).records).toBe(stream.length);
      cursor.finish();
      for (let left = random.below(20_000); left > 0; left--) {
        const ptex = random.below(model.length);
        model[ptex] = random.chance(0.5) ? serial++ : 0;
        if (model[ptex] === 0) table.remove(ptex);
        else table.set(ptex, 1n, BigInt(model[ptex]) << 12n);
      }
    }
    const expected = [...model.entries()].filter(([, page]) => page !== 0);
    expect(contents(table).map(([ptex, r]) => [ptex, Number(r >> 12n)])).toEqual(expected);
    expect(table.validCount).toBe(expected.length);
  }
});
