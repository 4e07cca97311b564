import { describe, expect, test } from 'vitest';
import { checkOrder, entryCount, groupOf, ptegCount, slotOf, tableBytes } from '../../lib/hpt/geometry.js';

describe('geometry', () => {
  test('a table of order 18 is 256 KiB: 16,384 entries in 2,048 PTEGs', () => {
    expect([tableBytes(18), entryCount(18), ptegCount(18)]).toEqual([262_144, 16_384, 2_048]);
  });

  test('a table of order 36 has exactly the 2^32 entries that a stream index can name', () => {
    expect([tableBytes(36), entryCount(36), ptegCount(36)]).toEqual([2 ** 36, 4_294_967_296, 536_870_912]);
  });

  test('a table of order 46 is counted without wrapping', () => {
    expect([tableBytes(46), entryCount(46), ptegCount(46)]).toEqual([
      70_368_744_177_664, 4_398_046_511_104, 549_755_813_888,
    ]);
  });

  test('an entry is found in its PTEG beyond 2^31 and 2^32', () => {
    expect([groupOf(2 ** 31 + 13), slotOf(2 ** 31 + 13)]).toEqual([2 ** 28 + 1, 5]);
    expect([groupOf(2 ** 42 - 1), slotOf(2 ** 42 - 1)]).toEqual([2 ** 39 - 1, 7]);
  });

  test.each([17, 47, 0, -18, 18.5, Number.NaN, Infinity])('order %s is refused', (order) => {
    expect(() => {
      checkOrder(order);
    }).toThrow(expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }));
  });

  test.each([17, 47, 18.5, undefined as unknown as number, '20' as unknown as number])(
    'a table of order %o has no size',
    (order) => {
      const refusal: unknown = expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' });
      expect(() => tableBytes(order)).toThrow(refusal);
      expect(() => entryCount(order)).toThrow(refusal);
      expect(() => ptegCount(order)).toThrow(refusal);
    },
  );

  test('orders from 18 up to the caller’s limit are taken, and no more', () => {
    const taken = Array.from({ length: 60 }, (_, order) => order).filter((order) => {
      try {
        checkOrder(order, 36);
        return true;
      } catch {
        return false;
      }
    });
    expect(taken).toEqual([18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36]);
  });
});
