import { expect, test } from 'vitest';
import type { HtabFormatError } from '../../lib/base/errors.js';
import { RecordCursor } from '../../lib/records/cursor.js';
import { cutAt, hpte, record, run } from './streams.js';
import { walk, failure } from './shown-records.js';

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
