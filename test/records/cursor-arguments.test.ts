import { describe, expect, test } from 'vitest';
import { RecordCursor } from '../../lib/records/cursor.js';
import { record, run } from './streams.js';

test('an order that the stream cannot address is refused', () => {
  for (const order of [17, 37, 18.5, Number.NaN])
    expect(() => new RecordCursor({ order })).toThrow(RangeError);
});

test('a byte order that is none is refused', () => {
  const headerByteOrder = 'le' as 'LE';
  expect(() => new RecordCursor({ headerByteOrder })).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }),
  );
});

describe('what is not bytes, or has none left', () => {
  const gone: unknown = expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
  const aligned = (...parts: Uint8Array[]): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.concat(parts));
  const detach = (chunk: Uint8Array<ArrayBuffer>): void => {
    structuredClone(chunk, { transfer: [chunk.buffer] });
  };

  test('nothing but a Uint8Array can be pushed', () => {
    for (const chunk of [
      undefined,
      null,
      'bytes',
      new ArrayBuffer(8),
      new DataView(new ArrayBuffer(8)),
      [0],
    ]) {
      expect(() => {
        new RecordCursor().push(chunk as unknown as Uint8Array);
      }).toThrow(expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }));
    }
  });

  test('a chunk that was transferred away, which looks empty, is refused', () => {
    const chunk = aligned(record(0, run(1)));
    detach(chunk);
    expect(() => {
      new RecordCursor().push(chunk);
    }).toThrow(gone);
    const cursor = new RecordCursor();
    cursor.push(new Uint8Array(3));
    expect(cursor.next()).toBe(false);
    expect(() => {
      cursor.push(chunk);
    }).toThrow(gone);
  });

  test.each<[string, 'LE' | 'BE', Uint8Array<ArrayBuffer>[], number]>([
    ['before its first record', 'LE', [aligned(record(0, run(1)))], 0],
    ['before its first record, with headers for QEMU', 'BE', [aligned(record(0, run(1), 0, 'BE'))], 0],
    ['between records', 'LE', [aligned(record(0, run(1)), record(1, run(1)))], 1],
    ['before a part of a header', 'LE', [aligned(record(0, run(1)), record(1, run(1)).subarray(0, 5))], 1],
    ['with less than a word', 'LE', [new Uint8Array(3)], 0],
    [
      'before the rest of a cut record',
      'LE',
      [aligned(record(0, run(4)).subarray(0, 24)), aligned(Buffer.concat(run(3, 1)))],
      0,
    ],
    [
      'while the carry is shown',
      'LE',
      [
        aligned(record(0, run(1)).subarray(0, 10)),
        aligned(record(0, run(1)).subarray(10), record(1, run(1))),
      ],
      1,
    ],
  ])('a chunk transferred away %s is told, again and again', (_, headerByteOrder, chunks, shown) => {
    const cursor = new RecordCursor({ headerByteOrder });
    const last = chunks.at(-1)!;
    for (const chunk of chunks.slice(0, -1)) {
      cursor.push(chunk.slice());
      while (cursor.next());
    }
    cursor.push(last);
    for (let k = 0; k < shown; k++) expect(cursor.next()).toBe(true);
    detach(last);
    expect(() => cursor.next()).toThrow(gone);
    expect(() => cursor.next()).toThrow(gone);
  });
});
