import { expect, test } from 'vitest';
import { storeImage } from '../../lib/hpt/flat-image.js';
import { HptTable } from '../../lib/hpt/table.js';

test('storeImage stores the valid entries of an image from a ptex on', () => {
  const image = Buffer.alloc(1 + 3 * 16).subarray(1);
  image.writeBigUInt64BE(0xc123456789abcdf1n, 0);
  image.writeBigUInt64BE(0x8000000000000190n, 8);
  image.writeBigUInt64BE(0x40n, 16);
  image.writeBigUInt64BE(0x1n, 32);
  const table = new HptTable(18);
  table.set(8, 0x11n, 0x190n);
  storeImage(table, 7, image);
  expect([...table]).toEqual([
    [7, { v: 0xc123456789abcdf1n, r: 0x8000000000000190n }],
    [8, { v: 0x11n, r: 0x190n }],
    [9, { v: 0x1n, r: 0n }],
  ]);
});
