import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { differenceIn } from '../../lib/hpt/record-difference.js';
import { HptTable } from '../../lib/hpt/table.js';
import { RecordCursor } from '../../lib/records/cursor.js';

const ORDER = 21;

/** An entry of a record, and what the table holds in its place. */
interface Place {
  readonly r: bigint;
  readonly held: { readonly v: bigint; readonly r: bigint } | undefined;
}

const V = 0x11n;
const r = fc.constantFrom(0x190n, 0x110n, 0x8000_0000_0000_0190n);
/** Mostly as the record has it: a difference must not hide those after it. */
const validPlace = r.chain((given) => {
  const same = { r: given, held: { v: V, r: given } };
  const others = fc.oneof(
    fc.constant(undefined),
    fc.record({ v: fc.constantFrom(V, V | 0x60n, V | 0x80n, V | (1n << 60n)), r }),
  );
  return fc.oneof(
    { weight: 30, arbitrary: fc.constant(same) },
    { weight: 1, arbitrary: others.map((held) => ({ r: given, held })) },
  );
});
const invalidPlace = fc.oneof(
  { weight: 60, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constant({ v: V, r: 0x190n }) },
);
const first = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 65_400, max: 65_540 }));

function recordOf(index: number, valid: readonly Place[], invalidCount: number): RecordCursor {
  const bytes = new DataView(new ArrayBuffer(8 + valid.length * 16));
  bytes.setUint32(0, index, true);
  bytes.setUint16(4, valid.length, true);
  bytes.setUint16(6, invalidCount, true);
  for (const [k, place] of valid.entries()) {
    bytes.setBigUint64(8 + k * 16, V);
    bytes.setBigUint64(16 + k * 16, place.r);
  }
  const cursor = new RecordCursor({ order: ORDER });
  cursor.push(new Uint8Array(bytes.buffer));
  cursor.next();
  return cursor;
}

describe('differenceIn', () => {
  test('finds the first entry of a record that the table does not have, its kernel bits aside', () => {
    const runs = fc.tuple(
      first,
      fc.array(validPlace, { maxLength: 80 }),
      fc.array(invalidPlace, { minLength: 1, maxLength: 200 }),
    );
    fc.assert(
      fc.property(runs, ([index, valid, invalid]) => {
        const table = new HptTable(ORDER);
        // Neighbours, which are no part of the record.
        table.set(index + valid.length + invalid.length, V, 0n);
        if (index > 0) table.set(index - 1, V, 0n);
        for (const [k, held] of [...valid.map((place) => place.held), ...invalid].entries()) {
          if (held !== undefined) table.set(index + k, held.v, held.r);
        }
        const differs = [
          ...valid.map(
            ({ r: given, held }) => held === undefined || ((held.v ^ V) & ~0x60n) !== 0n || held.r !== given,
          ),
          ...invalid.map((held) => held !== undefined),
        ];
        const expected = differs.indexOf(true);
        expect(differenceIn(table, recordOf(index, valid, invalid.length))).toBe(
          expected === -1 ? undefined : index + expected,
        );
      }),
    );
  });
});
