import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { type HtabRecord, decodeRecords } from '../../lib/records/decode-records.js';
import { cutAt, hpte, record, run } from './streams.js';

const stream = Buffer.concat([record(1, run(3), 4), record(9, [], 2), record(11, run(1, 7))]);
const decoded = [
  { index: 1, validCount: 3, invalidCount: 4, hptes: Buffer.concat(run(3)) },
  { index: 9, validCount: 0, invalidCount: 2, hptes: Buffer.alloc(0) },
  { index: 11, validCount: 1, invalidCount: 0, hptes: run(1, 7)[0] },
];

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<HtabRecord[]> {
  const records: HtabRecord[] = [];
  for await (const one of decodeRecords(chunks)) records.push(one);
  return records;
}

test('the records of a buffer come as objects', () => {
  expect([...decodeRecords(stream)]).toEqual(decoded);
});

test('records are whole, however the chunks are cut', () => {
  for (let cut = 1; cut < stream.length; cut++) {
    expect([...decodeRecords(cutAt(stream, [cut, cut + 9]))]).toEqual(decoded);
  }
});

test('chunks may come in their own time, and their memory may be used again', async () => {
  const pooled = new Uint8Array(20);
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < stream.length; at += pooled.length) {
      const part = stream.subarray(at, at + pooled.length);
      pooled.set(part);
      yield await Promise.resolve(pooled.subarray(0, part.length));
      pooled.fill(0xee);
    }
  };
  expect(await collect(chunks())).toEqual(decoded);
});

test('v and r of an entry are read from the record', () => {
  const [only] = decodeRecords(record(5, [hpte(0x41n, 0x190n), hpte(0x4001_ffff_ff00_0055n, 0x1190n)]));
  expect(only!.hptes.readBigUInt64BE(16)).toBe(0x4001_ffff_ff00_0055n);
  expect(only!.hptes.readBigUInt64BE(24)).toBe(0x1190n);
});

test('records before a bad one are seen, then comes the error with its place', () => {
  const bad = Buffer.concat([stream, record(11, [], 1)]);
  const seen: number[] = [];
  const all = (): void => {
    for (const { index } of decodeRecords(bad, { order: 18, ascending: true })) seen.push(index);
  };
  const place = { byteOffset: stream.length, recordIndex: 3, ptex: 11 };
  expect(all).toThrow(expect.objectContaining(place) as Error);
  expect(seen).toEqual([1, 9, 11]);
});

test('a stream that ends too soon is an error', async () => {
  const short = stream.subarray(0, -1);
  expect(() => [...decodeRecords(short)]).toThrow(HtabFormatError);
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(short);
  };
  await expect(collect(chunks())).rejects.toThrow(HtabFormatError);
});

test.each([['text'], [undefined], [null], [24], [{}]])('%j is no stream of records', (wrong) => {
  expect(() => decodeRecords(wrong as unknown as Uint8Array)).toThrow(
    expect.objectContaining({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('reader.pass()') as string,
    }),
  );
});
