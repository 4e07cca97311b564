import { expect, test } from 'vitest';
import { RecordEncoder, type RecordEncoderOptions } from '../../lib/records/encoder.js';
import { type HeaderByteOrder, readHeader } from '../../lib/records/header.js';
import { record, run } from './streams.js';

/** The buffers an encoder fills. */
function encode(fill: (encoder: RecordEncoder) => void, options?: RecordEncoderOptions): Buffer[] {
  const buffers: Buffer[] = [];
  const encoder = new RecordEncoder((records) => buffers.push(Buffer.from(records)), options);
  fill(encoder);
  encoder.flush();
  return buffers;
}

/** index, valid and invalid count of each record in little-endian bytes. */
function headers(bytes: Uint8Array): [number, number, number][] {
  const found: [number, number, number][] = [];
  for (let at = 0; at < bytes.length;) {
    const { index, validCount, invalidCount } = readHeader(bytes, at);
    found.push([index, validCount, invalidCount]);
    at += 8 + validCount * 16;
  }
  return found;
}

const manyHptes = Buffer.alloc(70_000 * 16, 0x41);

test('runs become records, in the order they are given', () => {
  const hptes = Buffer.concat(run(3));
  const [bytes] = encode((encoder) => {
    encoder.add(100, 2, 5, hptes, 16);
    encoder.add(7, 0, 1);
    encoder.add(0xffff_ffff, 1, 0, hptes);
  });
  const expected = [record(100, run(2, 1), 5), record(7, [], 1), record(0xffff_ffff, run(1))];
  expect(bytes).toEqual(Buffer.concat(expected));
});

test('headers are big-endian where that is asked for, HPTEs always', () => {
  const [bytes] = encode(
    (encoder) => {
      encoder.add(0x28e00, 1, 2, Buffer.concat(run(1)));
    },
    { headerByteOrder: 'BE' },
  );
  expect(bytes).toEqual(record(0x28e00, run(1), 2, 'BE'));
});

test('runs longer than a record can say are cut into several', () => {
  const [bytes] = encode(
    (encoder) => {
      encoder.add(5, 70_000, 140_000, manyHptes);
    },
    { bufferBytes: 1 << 21 },
  );
  expect(headers(bytes!)).toEqual([
    [5, 65_535, 0],
    [65_540, 4465, 65_535],
    [135_540, 0, 65_535],
    [201_075, 0, 8930],
  ]);
});

test('records for QEMU hold no more valid entries than its reader has room for', () => {
  const hptes = Buffer.concat(run(300));
  const [bytes] = encode(
    (encoder) => {
      encoder.add(1000, 300, 50, hptes);
    },
    { maxValid: 127 },
  );
  const parts = [record(1000, run(127)), record(1127, run(127, 127)), record(1254, run(46, 254), 50)];
  expect(bytes).toEqual(Buffer.concat(parts));
});

test('a record that does not fit into what is left of a buffer goes whole into the next', () => {
  const hptes = Buffer.concat(run(4));
  const buffers = encode(
    (encoder) => {
      encoder.add(0, 2, 1, hptes);
      encoder.add(10, 4, 1, hptes);
      encoder.add(20, 0, 1);
      encoder.add(30, 1, 0, hptes);
      encoder.add(40, 0, 1);
    },
    { bufferBytes: 80 },
  );
  expect(buffers.map(headers)).toEqual([
    [[0, 2, 1]],
    [
      [10, 4, 1],
      [20, 0, 1],
    ],
    [
      [30, 1, 0],
      [40, 0, 1],
    ],
  ]);
});

test('only a record longer than a whole buffer is cut at its end', () => {
  const buffers = encode(
    (encoder) => {
      encoder.add(10, 10, 3, Buffer.concat(run(10)));
    },
    { bufferBytes: 8 + 4 * 16 + 15 },
  );
  expect(buffers.map(headers)).toEqual([[[10, 4, 0]], [[14, 4, 0]], [[18, 2, 3]]]);
});

test('the smallest buffer holds one entry', () => {
  const buffers = encode(
    (encoder) => {
      encoder.add(1, 2, 2, Buffer.concat(run(2)));
    },
    { bufferBytes: 24 },
  );
  expect(buffers).toEqual([record(1, run(1)), record(2, run(1, 1), 2)]);
});

test("buffers may be the caller's own, and are not touched once handed over", () => {
  const own: Uint8Array[] = [];
  const filled: Uint8Array[] = [];
  const encoder = new RecordEncoder((records) => filled.push(records), {
    bufferBytes: 40,
    allocate: (bufferBytes) => {
      own.push(new Uint8Array(bufferBytes));
      return own.at(-1)!;
    },
  });
  for (let k = 0; k < 7; k++) encoder.add(k * 2, 0, 1);
  encoder.flush();
  encoder.add(14, 0, 1);
  encoder.flush();
  encoder.flush();
  expect(own).toHaveLength(3);
  expect(filled.map(({ buffer, length }) => [own.findIndex((one) => one.buffer === buffer), length])).toEqual(
    [
      [0, 40],
      [1, 16],
      [2, 8],
    ],
  );
  expect(Buffer.concat(filled)).toEqual(
    Buffer.concat(Array.from({ length: 8 }, (_, k) => record(k * 2, [], 1))),
  );
});

test('nothing added is nothing handed over', () => {
  expect(
    encode((encoder) => {
      encoder.add(5, 0, 0);
    }),
  ).toEqual([]);
});

test('entries and bytes out of range are refused, and nothing is added', () => {
  const hptes = Buffer.concat(run(2));
  expect(
    encode((encoder) => {
      const refused = (...args: Parameters<RecordEncoder['add']>): void => {
        expect(() => {
          encoder.add(...args);
        }).toThrow(RangeError);
      };
      refused(-1, 0, 1);
      refused(0.5, 0, 1);
      refused(Number.NaN, 0, 1);
      refused(0, -1, 0);
      refused(0, 0, 1.5);
      refused(2 ** 32, 0, 1);
      refused(2 ** 32 - 1, 1, 1, hptes);
      refused(0, 3, 0, hptes);
      refused(0, 2, 0, hptes, 1);
      refused(0, 1, 0, hptes, -1);
      refused(0, 1, 0, hptes, 0.5);
      refused(0, 1, 0, hptes, Number.NaN);
      refused(0, 1, 0);
    }),
  ).toEqual([]);
});

test('a buffer without room for an entry, and a record length that no header can say, are refused', () => {
  const make = (options: RecordEncoderOptions) => () => new RecordEncoder(() => undefined, options);
  for (const bufferBytes of [0, 23, 100.5, Number.NaN]) expect(make({ bufferBytes })).toThrow(RangeError);
  for (const maxValid of [0, 65_536, 1.5, Number.NaN]) expect(make({ maxValid })).toThrow(RangeError);
});

test('a byte order that is none is refused', () => {
  const headerByteOrder = 'be' as HeaderByteOrder;
  expect(() => new RecordEncoder(() => undefined, { headerByteOrder })).toThrow(
    expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }),
  );
});

test('from within its sink the encoder is busy, and goes on as if it had not been called', () => {
  const filled: Uint8Array[] = [];
  const calls = [
    (): void => {
      encoder.add(9, 0, 9);
    },
    (): void => {
      encoder.flush();
    },
  ];
  const encoder = new RecordEncoder(
    (records) => {
      for (const call of calls) expect(call).toThrow(expect.objectContaining({ state: 'busy' }));
      filled.push(records);
    },
    { bufferBytes: 24 },
  );
  encoder.add(0, 2, 1, Buffer.concat(run(2)));
  encoder.flush();
  expect(filled).toEqual([record(0, run(1)), record(1, run(1, 1), 1)]);
});

test('a sink that throws ends the encoder: later records would follow a gap', () => {
  let calls = 0;
  const failure = new Error('disk full');
  const encoder = new RecordEncoder(() => {
    calls++;
    throw failure;
  });
  encoder.add(5, 0, 1);
  expect(() => {
    encoder.flush();
  }).toThrow(failure);
  const lost: unknown = expect.objectContaining({ state: 'lost', cause: failure });
  expect(() => {
    encoder.add(6, 0, 1);
  }).toThrow(lost);
  expect(() => {
    encoder.flush();
  }).toThrow(lost);
  expect(calls).toBe(1);
});

test('a buffer shorter than asked for is refused, and ends the encoder', () => {
  const encoder = new RecordEncoder(() => undefined, { allocate: () => new Uint8Array(23) });
  const add = (): void => {
    encoder.add(0, 1, 0, Buffer.concat(run(1)));
  };
  expect(add).toThrow(expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }));
  expect(add).toThrow(expect.objectContaining({ state: 'lost' }));
});
