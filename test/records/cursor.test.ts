import { describe, expect, test } from 'vitest';
import { HtabFormatError, HtabStateError } from '../../lib/base/errors.js';
import { RecordCursor, type RecordCursorOptions } from '../../lib/records/cursor.js';
import { cutAt, hpte, record, run, shifted } from './streams.js';

interface Shown {
  readonly record: number;
  readonly index: number;
  readonly valid: string;
  readonly invalid: number;
  readonly at: number;
  readonly complete: boolean;
}

function show(cursor: RecordCursor): Shown {
  const { recordIndex, index, validCount, invalidCount, bytes, byteOffset, streamOffset, complete } = cursor;
  const valid = Buffer.from(bytes.subarray(byteOffset, byteOffset + validCount * 16)).toString('hex');
  return { record: recordIndex, index, valid, invalid: invalidCount, at: streamOffset, complete };
}

/** All that a cursor shows of these chunks, up to the stream's end. */
function walk(chunks: readonly Uint8Array[], options?: RecordCursorOptions): Shown[] {
  const cursor = new RecordCursor(options);
  const shown: Shown[] = [];
  for (const chunk of chunks) {
    cursor.push(chunk);
    while (cursor.next()) shown.push(show(cursor));
  }
  cursor.finish();
  return shown;
}

/** The error these chunks end in. */
function failure(chunks: readonly Uint8Array[], options?: RecordCursorOptions): HtabFormatError {
  try {
    walk(chunks, options);
  } catch (error) {
    if (error instanceof HtabFormatError) return error;
    throw error;
  }
  throw new Error('the stream is taken as right');
}

const hex = (hptes: readonly Buffer[]): string => Buffer.concat(hptes).toString('hex');

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

test('an order that the stream cannot address is refused', () => {
  for (const order of [17, 37, 18.5, Number.NaN])
    expect(() => new RecordCursor({ order })).toThrow(RangeError);
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

test('a record past the end of the table is refused', () => {
  const before = record(0, run(1), 3);
  for (const bad of [
    record(16_384, [], 1),
    record(16_383, run(2)),
    record(16_383, run(1), 1),
    record(0, run(1), 65_535),
    record(0xffff_ffff, run(1)),
  ]) {
    const error = failure([Buffer.concat([before, bad])], { order: 18 });
    expect(error).toMatchObject({ byteOffset: 24, recordIndex: 1, ptex: bad.readUInt32LE(0) });
    expect(error.message).toContain('the last entry 16383');
  }
  expect(walk([record(16_383, [], 1)], { order: 18 })).toHaveLength(1);
});

test('a range that wraps at 32 bits is refused, whatever the order: QEMU crashes on it', () => {
  for (const options of [{}, { order: 18 }, { order: 36 }]) {
    expect(failure([record(0xffff_fff8, [], 16)], options)).toMatchObject({
      byteOffset: 0,
      ptex: 0xffff_fff8,
    });
    expect(failure([record(0xffff_ffff, run(2))], options)).toMatchObject({
      byteOffset: 0,
      ptex: 0xffff_ffff,
    });
  }
});

test("a record without entries is refused: it is QEMU's end marker, and no kernel writes it (2.3)", () => {
  expect(failure([Buffer.concat([record(0, run(1)), record(0, [])])])).toMatchObject({
    byteOffset: 24,
    recordIndex: 1,
    ptex: 0,
  });
});

test('in one pass no record may begin before the end of the one before it', () => {
  const bytes = Buffer.concat([record(10, run(3), 4), record(17, run(1)), record(17, run(1))]);
  expect(failure([bytes], { ascending: true })).toMatchObject({ byteOffset: 80, recordIndex: 2, ptex: 17 });
  expect(walk([bytes])).toHaveLength(3);
  const cut = Buffer.concat([record(10, run(3), 4), record(16, [], 1)]);
  expect(failure(cutAt(cut, [30]), { ascending: true })).toMatchObject({
    byteOffset: 56,
    recordIndex: 1,
    ptex: 16,
  });
});

test('the page-size code of a large page must be one of the legal ones (7)', () => {
  for (let code = 0; code < 256; code++) {
    const entry = hpte(0x45n, BigInt(code) << 12n);
    const legal = [0x00, 0x03, 0x08, 0x38].includes(code) || [1, 7].includes(code & 0xf);
    // Alone, in a pair, and in a run long enough for the check in blocks.
    for (const hptes of [[entry], [entry, entry], [...run(5), entry], [...run(4), entry, ...run(11)]]) {
      if (legal) expect(walk([record(0, hptes)])).toHaveLength(1);
      else expect(failure([record(0, hptes)]).message).toContain(`0x${code.toString(16).padStart(2, '0')}`);
    }
    expect(walk([record(0, [hpte(0x41n, BigInt(code) << 12n)])])).toHaveLength(1);
  }
});

const faults = {
  'V bit clear': hpte(0x40n, 0x190n),
  'segment code 2': hpte(0x8000_0000_0000_0041n, 0x190n),
  'segment code 3': hpte(0xc000_0000_0000_0041n, 0x190n),
  'page-size code 0x55': hpte(0x45n, 0x55_190n),
};

test.each(Object.entries(faults))('one HPTE with %s is found in any run, at any place', (reason, bad) => {
  for (const largePages of [false, true]) {
    for (const length of [1, 2, 3, 7, 8, 9, 15, 16, 17, 40]) {
      for (let place = 0; place < length; place++) {
        const hptes = largePages ? run(length).map((_, k) => hpte(0x45n, BigInt(k) << 20n)) : run(length);
        hptes[place] = bad;
        const error = failure([Buffer.concat([record(2, [], 3), record(100, hptes)])]);
        expect(error.message).toContain(reason);
        expect(error).toMatchObject({ byteOffset: 16 + place * 16, recordIndex: 1, ptex: 100 + place });
      }
    }
  }
});

test('all bits of an HPTE but these are free', () => {
  const wild = hpte(0x7fff_ffff_ffff_fffbn, 0xffff_ffff_ffff_ffffn);
  expect(walk([record(0, [wild])])).toHaveLength(1);
  expect(
    walk([
      record(
        0,
        Array.from({ length: 9 }, () => wild),
      ),
    ]),
  ).toHaveLength(1);
});

test('of a cut record the right part is named, and the parts before it have been shown', () => {
  const hptes = run(20, 0);
  hptes[12] = faults['V bit clear'];
  const cursor = new RecordCursor();
  const [first, second] = cutAt(Buffer.concat([record(0, run(1)), record(50, hptes)]), [24 + 8 + 10 * 16]);
  cursor.push(first!);
  expect([cursor.next(), cursor.next(), cursor.next()]).toEqual([true, true, false]);
  expect(cursor.validCount).toBe(10);
  cursor.push(second!);
  const place = { byteOffset: 32 + 12 * 16, recordIndex: 1, ptex: 62 };
  expect(() => cursor.next()).toThrow(expect.objectContaining(place) as Error);
});

test('after an error the cursor throws it again', () => {
  const cursor = new RecordCursor();
  cursor.push(Buffer.concat([record(1, run(1)), record(2, []), record(3, run(1))]));
  expect(cursor.next()).toBe(true);
  const place = { byteOffset: 24, recordIndex: 1, ptex: 2 };
  expect(() => cursor.next()).toThrow(expect.objectContaining(place) as Error);
  expect(() => cursor.next()).toThrow(expect.objectContaining(place) as Error);
  expect(cursor.recordIndex).toBe(0);
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

test('a stream that ends inside a record says where', () => {
  const bytes = Buffer.concat([record(1, run(1)), record(9, run(4), 1)]);
  const endsAt = (length: number): HtabFormatError => failure([bytes.subarray(0, length)]);
  expect(endsAt(24 + 3)).toMatchObject({ byteOffset: 27, recordIndex: 1 });
  expect(endsAt(24 + 3).ptex).toBeUndefined();
  expect(endsAt(24 + 8)).toMatchObject({ byteOffset: 32, recordIndex: 1, ptex: 9 });
  expect(endsAt(24 + 23)).toMatchObject({ byteOffset: 47, recordIndex: 1, ptex: 9 });
  expect(endsAt(24 + 8 + 40)).toMatchObject({ byteOffset: 72, recordIndex: 1, ptex: 11 });
  expect(endsAt(24 + 8 + 40).message).toContain('at least 24 more bytes expected');
  expect(endsAt(24 + 8 + 48)).toMatchObject({ byteOffset: 80, recordIndex: 1, ptex: 12 });
});

test('what a header says is judged also where the stream ends before the first HPTE', () => {
  const bytes = record(16_380, run(9));
  for (const cuts of [[], [4], [8, 10]]) {
    const error = failure(cutAt(bytes.subarray(0, 20), cuts), { order: 18 });
    expect(error).toMatchObject({ byteOffset: 0, recordIndex: 0, ptex: 16_380 });
  }
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
