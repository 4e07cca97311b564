import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RecordCursor } from '../../lib/records/cursor.js';
import { RecordEncoder, type RecordEncoderOptions } from '../../lib/records/encoder.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { decodeRecords } from '../../lib/records/decode-records.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { HptTable } from '../../lib/hpt/table.js';
import { type TestRecord, cutAt, passOf, shifted } from './streams.js';

const ORDER = 18;
const ENTRIES = 16_384;

function encode(records: readonly TestRecord[], options: RecordEncoderOptions): Buffer {
  const buffers: Uint8Array[] = [];
  const encoder = new RecordEncoder((filled) => buffers.push(filled), options);
  for (const { index, hptes, invalidCount } of records) {
    encoder.add(index, hptes.length, invalidCount, Buffer.concat(hptes));
  }
  encoder.flush();
  return Buffer.concat(buffers);
}

const byteOrder = fc.constantFrom('LE' as const, 'BE' as const);
const cuts = fc.array(fc.nat(4000), { maxLength: 40, size: 'max' });
const shift = fc.nat(15);

test('records encoded and decoded are the same, under any chunking at any address', () => {
  fc.assert(
    fc.property(passOf(ENTRIES), byteOrder, cuts, shift, (records, headerByteOrder, offsets, by) => {
      const chunks = cutAt(encode(records, { headerByteOrder }), offsets).map((chunk) => shifted(chunk, by));
      const decoded = [...decodeRecords(chunks, { order: ORDER, headerByteOrder, ascending: true })];
      expect(decoded).toEqual(
        records.map(({ index, hptes, invalidCount }) => ({
          index,
          validCount: hptes.length,
          invalidCount,
          hptes: Buffer.concat(hptes),
        })),
      );
    }),
  );
});

test('records cut by the encoder and again by the chunks make the same table', () => {
  const limits = fc.record({
    headerByteOrder: byteOrder,
    maxValid: fc.integer({ min: 1, max: 30 }),
    bufferBytes: fc.integer({ min: 24, max: 400 }),
  });
  // Passes that overlap in any way: later records override what earlier ones said.
  const passes = fc.array(passOf(200), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(passes, limits, cuts, (all, options, offsets) => {
      const records = all.flat();
      const expected = new HptTable(ORDER);
      for (const { index, hptes, invalidCount } of records) {
        hptes.forEach((hpte, k) => {
          expected.set(index + k, hpte.readBigUInt64BE(0), hpte.readBigUInt64BE(8));
        });
        for (let k = 0; k < invalidCount; k++) expected.remove(index + hptes.length + k);
      }

      const table = new HptTable(ORDER);
      const cursor = new RecordCursor({ order: ORDER, headerByteOrder: options.headerByteOrder });
      for (const chunk of cutAt(encode(records, options), offsets)) {
        cursor.push(chunk);
        foldRecords(cursor, table);
      }
      cursor.finish();
      expect(compareTables(table, expected)).toEqual({ count: 0, ptexes: [] });
      expect(table.validCount).toBe(expected.validCount);
    }),
  );
});

test('no buffer of an encoder ends inside a record, and none is longer than asked', () => {
  const limits = fc.record({ bufferBytes: fc.integer({ min: 24, max: 400 }) });
  fc.assert(
    fc.property(passOf(ENTRIES), limits, (records, { bufferBytes }) => {
      const encoder = new RecordEncoder(
        (filled) => {
          expect(filled.length).toBeLessThanOrEqual(bufferBytes);
          expect([...decodeRecords(filled)].length).toBeGreaterThan(0);
        },
        { bufferBytes },
      );
      for (const { index, hptes, invalidCount } of records) {
        encoder.add(index, hptes.length, invalidCount, Buffer.concat(hptes));
      }
      encoder.flush();
    }),
  );
});
