import { expect, test } from 'vitest';
import { adviseOrder } from '../../lib/inspect/advise-order.js';

const GIB = 2 ** 30;

test.each([
  [GIB, '64K', { linux: 20, qemu: 23 }],
  [64 * GIB, '64K', { linux: 26, qemu: 29 }],
  [64 * GIB, '4K', { linux: 30, qemu: 29 }],
  [65 * GIB, '64K', { linux: 27, qemu: 30 }],
  [GIB / 64, '64K', { linux: 18, qemu: 18 }],
  [2 ** 53 - 1, '4K', { linux: 46, qemu: 46 }],
] as const)('a guest of %i bytes with pages of %s is given these orders', (bytes, pageSize, advice) => {
  expect(adviseOrder(bytes, pageSize)).toEqual(advice);
});

test('memory that is no number of bytes is refused', () => {
  for (const bytes of [0, -1, 1.5, 2 ** 53]) expect(() => adviseOrder(bytes)).toThrow(RangeError);
});
