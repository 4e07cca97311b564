import { describe, expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { HptTable } from '../../lib/hpt/table.js';
import { RecordCursor } from '../../lib/records/cursor.js';
import { PassCounter } from '../../lib/records/pass-counter.js';
import { TableFold } from '../../lib/records/table-fold.js';
import { record, run } from './streams.js';

const ENTRIES = 16_384;
/** Names every entry of a table of order 18; three of them are valid. */
const WHOLE = record(0, run(3), ENTRIES - 3);

class IncompleteError extends Error {}
const incomplete = (found: string): Error => new IncompleteError(found);

function begun(): TableFold {
  const fold = new TableFold(new HptTable(18), incomplete);
  fold.beginPass();
  return fold;
}

describe('TableFold', () => {
  test('applies the records of each pass and counts them', () => {
    const fold = begun();
    expect(fold.add(WHOLE)).toEqual({ records: 1, validEntries: 3, invalidEntries: ENTRIES - 3 });
    expect(fold.endPass()).toEqual({ validEntries: 3, invalidEntries: ENTRIES - 3, bytes: WHOLE.length });
    expect(fold.table.validCount).toBe(3);
    fold.beginPass();
    expect(fold.counts).toEqual({ validEntries: 0, invalidEntries: 0, bytes: 0 });
    fold.add(record(1, [], 1));
    fold.add(record(7, run(2), 3));
    expect([fold.records, fold.reached]).toEqual([2, 12]);
    expect(fold.endPass()).toEqual({ validEntries: 2, invalidEntries: 4, bytes: 48 });
    expect(fold.table.validCount).toBe(4);
    expect(fold.passes).toBe(2);
  });

  test('refuses a first pass that leaves out an entry', () => {
    const fold = begun();
    fold.add(record(0, run(3), ENTRIES - 4));
    expect(() => fold.endPass()).toThrow(
      new IncompleteError("the first pass named 16383 of the table's 16384 entries"),
    );
    expect(fold.passes).toBe(0);
  });

  test('takes a first pass that is left early and taken up again as one', () => {
    const fold = begun();
    fold.add(record(0, run(3)));
    fold.beginPass();
    fold.add(record(3, [], ENTRIES - 3));
    expect(fold.named).toBe(ENTRIES);
    expect(fold.endPass().validEntries).toBe(0);
  });

  test('keeps its counts where a record is refused', () => {
    const fold = begun();
    fold.add(record(10, run(2)));
    expect(() => fold.add(record(4, run(1)))).toThrow(HtabFormatError);
    expect(fold.counts).toEqual({ validEntries: 2, invalidEntries: 0, bytes: 40 });
  });

  test('refuses bytes that end inside a record', () => {
    const fold = begun();
    expect(() => fold.add(WHOLE.subarray(0, 30))).toThrow('inside a record');
  });
});

test('PassCounter counts records without keeping them, and shows each to the check of its cursor', () => {
  const counter = new PassCounter(18, incomplete);
  const seen: number[] = [];
  counter.beginPass(new RecordCursor({ order: 18, check: ({ index }) => seen.push(index) }));
  expect(counter.add(Buffer.concat([record(0, run(3)), record(3, [], ENTRIES - 3)]))).toEqual({
    records: 2,
    validEntries: 3,
    invalidEntries: ENTRIES - 3,
  });
  expect(seen).toEqual([0, 3]);
  expect(counter.endPass().bytes).toBe(64);
});
