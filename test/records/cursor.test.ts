import { expect, test } from 'vitest';
import { HtabStateError } from '../../lib/base/errors.js';
import { RecordCursor, type RecordCursorOptions } from '../../lib/records/cursor.js';
import { cutAt, record, run, shifted } from './streams.js';
import { show, walk, hex } from './shown-records.js';

test('a pass over a table is shown record by record (11, row 3)', () => {
  const ten = run(10, 100);
  const stream = [
    record(0, run(1), 1),
    record(2, run(1), 97),
    record(100, ten, 16_273),
    record(16_383, run(1)),
  ];
  expect(walk([Buffer.concat(stream)], { order: 18, ascending: true })).toEqual([
    { record: 0, index: 0, valid: hex(run(1)), invalid: 1, at: 0, complete: true },
    { record: 1, index: 2, valid: hex(run(1)), invalid: 97, at: 24, complete: true },
    { record: 2, index: 100, valid: hex(ten), invalid: 16_273, at: 48, complete: true },
    { record: 3, index: 16_383, valid: hex(run(1)), invalid: 0, at: 216, complete: true },
  ]);
});

test('records of invalid entries alone have no bytes (2.3)', () => {
  const stream = [record(0, [], 65_535), record(65_535, [], 65_535), record(131_070, [], 2)];
  expect(walk([Buffer.concat(stream)], { order: 21 })).toEqual([
    { record: 0, index: 0, valid: '', invalid: 65_535, at: 0, complete: true },
    { record: 1, index: 65_535, valid: '', invalid: 65_535, at: 8, complete: true },
    { record: 2, index: 131_070, valid: '', invalid: 2, at: 16, complete: true },
  ]);
});

test('headers may be big-endian, as QEMU writes them', () => {
  const bytes = Buffer.from(
    '00028e0000020003' + '000250fff51c800500000000000011904001ffffff00005100000000000001900',
    'hex',
  );
  expect(walk([bytes.subarray(0, 40)], { headerByteOrder: 'BE', order: 23 })).toEqual([
    { record: 0, index: 0x28e00, valid: bytes.toString('hex', 8, 40), invalid: 3, at: 0, complete: true },
  ]);
});

test('HPTEs stay where they are in the chunk, and stand in its words in the order of the stream', () => {
  const chunk = shifted(Buffer.concat([record(7, [], 1), record(8, run(2, 8))]), 8);
  const cursor = new RecordCursor();
  cursor.push(chunk);
  expect(cursor.next()).toBe(true);
  expect(cursor.next()).toBe(true);
  expect(cursor.bytes).toBe(chunk);
  expect(cursor.byteOffset).toBe(16);
  expect(cursor.words.buffer).toBe(chunk.buffer);
  expect(cursor.words.byteOffset + cursor.wordOffset * 4).toBe(chunk.byteOffset + 16);
  expect(cursor.next()).toBe(false);
});

test('a chunk at any address shows the same', () => {
  const bytes = Buffer.concat([record(1, run(1), 2), record(4, run(9, 4)), record(20, [], 5)]);
  const expected = walk([shifted(bytes, 0)]);
  for (let shift = 1; shift < 16; shift++) expect(walk([shifted(bytes, shift)])).toEqual(expected);
});

test('a record cut by the end of a chunk is shown in parts that mean the same', () => {
  const hptes = run(5, 40);
  const bytes = Buffer.concat([record(3, [], 2), record(40, hptes, 9), record(60, run(1, 60))]);
  const inSecondHpte = 8 + 8 + 16 + 3;
  expect(walk(cutAt(bytes, [inSecondHpte]), { ascending: true })).toEqual([
    { record: 0, index: 3, valid: '', invalid: 2, at: 0, complete: true },
    { record: 1, index: 40, valid: hex(hptes.slice(0, 1)), invalid: 0, at: 8, complete: false },
    { record: 1, index: 41, valid: hex(hptes.slice(1, 2)), invalid: 0, at: 8, complete: false },
    { record: 1, index: 42, valid: hex(hptes.slice(2)), invalid: 9, at: 8, complete: true },
    { record: 2, index: 60, valid: hex(run(1, 60)), invalid: 0, at: 96, complete: true },
  ]);
  const afterThird = 8 + 8 + 3 * 16;
  expect(walk(cutAt(bytes, [afterThird])).slice(1, 3)).toEqual([
    { record: 1, index: 40, valid: hex(hptes.slice(0, 3)), invalid: 0, at: 8, complete: false },
    { record: 1, index: 43, valid: hex(hptes.slice(3)), invalid: 9, at: 8, complete: true },
  ]);
});

test('of a cut record everything is shown but its last 23 bytes at the most', () => {
  const bytes = record(40, run(2, 40), 1);
  const cursor = new RecordCursor();
  cursor.push(bytes.subarray(0, 23));
  expect(cursor.next()).toBe(false);
  cursor.push(bytes.subarray(23, 24));
  expect(cursor.next()).toBe(true);
  expect(show(cursor).valid).toBe(hex(run(1, 40)));
  expect(cursor.next()).toBe(false);
  cursor.push(bytes.subarray(24, 39));
  expect(cursor.next()).toBe(false);
  cursor.push(bytes.subarray(39));
  expect(cursor.next()).toBe(true);
  expect(show(cursor)).toMatchObject({ index: 41, valid: hex(run(1, 41)), invalid: 1, complete: true });
});

test('a stream may come byte by byte, with empty chunks between', () => {
  const bytes = Buffer.concat([record(1, [], 7), record(9, run(3, 9), 2), record(100, run(1))]);
  const crumbs = [...bytes].flatMap((byte) => [Buffer.from([byte]), Buffer.alloc(0)]);
  expect(walk(crumbs).map(({ record, index, valid, invalid }) => [record, index, valid, invalid])).toEqual([
    [0, 1, '', 7],
    [1, 9, hex(run(1, 9)), 0],
    [1, 10, hex(run(1, 10)), 0],
    [1, 11, hex(run(1, 11)), 2],
    [2, 100, hex(run(1)), 0],
  ]);
});

test('a chunk must be used up before the next one, and before the end', () => {
  const cursor = new RecordCursor();
  cursor.push(record(1, run(1)));
  expect(() => {
    cursor.push(record(2, run(1)));
  }).toThrow(HtabStateError);
  expect(() => {
    cursor.finish();
  }).toThrow(HtabStateError);
  expect([cursor.next(), cursor.next()]).toEqual([true, false]);
  cursor.push(record(2, run(1)));
  expect([cursor.next(), cursor.index]).toEqual([true, 2]);
});

test('a stream without bytes is right', () => {
  expect(walk([])).toEqual([]);
  expect(walk([new Uint8Array(0)])).toEqual([]);
});

test('entries are named right up to the last one the index can say', () => {
  const bytes = Buffer.concat([
    record(0x7fff_ffff, run(2)),
    record(0xffff_fff0, run(3), 12),
    record(0xffff_ffff, run(1)),
  ]);
  for (const options of [{}, { order: 36, ascending: true }]) {
    expect(walk([bytes], options).map(({ index, invalid }) => [index, invalid])).toEqual([
      [0x7fff_ffff, 0],
      [0xffff_fff0, 12],
      [0xffff_ffff, 0],
    ]);
  }
});

test('a check sees every record, or part of one, before it is shown, and what it refuses is not shown', () => {
  const stream = Buffer.concat([record(0, run(2), 3), record(9, run(3)), record(20, run(1, 9))]);
  const refuses = (index: number): RecordCursorOptions => ({
    check: (seen) => {
      if (seen.index <= index && index < seen.index + seen.validCount) throw new Error(`no ${index}`);
    },
  });
  // In the second record, and of it in the part behind the cut.
  for (const chunks of [[stream], cutAt(stream, [40 + 8 + 16 + 3])]) {
    const cursor = new RecordCursor(refuses(11));
    const shown: number[] = [];
    const drain = (): void => {
      for (const chunk of chunks) {
        cursor.push(chunk);
        while (cursor.next()) shown.push(cursor.index);
      }
    };
    expect(drain).toThrow('no 11');
    expect(() => cursor.next()).toThrow('no 11');
    expect(shown).toEqual(chunks.length === 1 ? [0] : [0, 9, 10]);
    expect(walk(chunks, refuses(12))).toEqual(walk(chunks));
  }
});
