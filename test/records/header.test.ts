import { expect, test } from 'vitest';
import { readHeader, writeHeader } from '../../lib/records/header.js';

test('a little-endian header is the struct of a ppc64le kernel (2.1)', () => {
  const bytes = new Uint8Array(8);
  writeHeader(bytes, 0, { index: 5, validCount: 1, invalidCount: 65_530 });
  expect(Buffer.from(bytes).toString('hex')).toBe('050000000100faff');
  expect(readHeader(bytes, 0)).toEqual({ index: 5, validCount: 1, invalidCount: 65_530 });
});

test('a big-endian header is what QEMU puts into its migration stream', () => {
  const bytes = new Uint8Array(8);
  writeHeader(bytes, 0, { index: 0x28e00, validCount: 1, invalidCount: 0 }, 'BE');
  expect(Buffer.from(bytes).toString('hex')).toBe('00028e0000010000');
  expect(readHeader(bytes, 0, 'BE')).toEqual({ index: 0x28e00, validCount: 1, invalidCount: 0 });
});

test('a header is read and written at any offset, and nothing beside it', () => {
  const bytes = new Uint8Array(19).fill(0xee);
  const header = { index: 0xffff_ffff, validCount: 0xffff, invalidCount: 0x1234 };
  writeHeader(bytes, 5, header);
  expect(Buffer.from(bytes).toString('hex')).toBe('eeeeeeeeee' + 'ffffffffffff3412' + 'eeeeeeeeeeee');
  expect(readHeader(bytes, 5)).toEqual(header);
});

test('a header that is not all there is refused, also where its memory goes on', () => {
  const bytes = new Uint8Array(16).subarray(0, 12);
  expect(() => readHeader(bytes, 5)).toThrow(RangeError);
  expect(() => {
    writeHeader(bytes, 5, { index: 0, validCount: 1, invalidCount: 0 });
  }).toThrow(RangeError);
  expect(bytes).toEqual(new Uint8Array(12));
});
