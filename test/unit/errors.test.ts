import { expect, test } from 'vitest';
import { outOfRange } from '../../lib/errors.js';

test.each([
  ['18', "'18'"],
  [18.5, '18.5'],
  [18n, '18n'],
  [undefined, 'undefined'],
  [{ guestAddress: 1n, size: 2n }, '{ guestAddress: 1n, size: 2n }'],
])('a RangeError shows %o as Node does', (received, shown) => {
  expect(outOfRange('order', 'an integer in 18..46', received)).toMatchObject({
    name: 'RangeError',
    code: 'ERR_OUT_OF_RANGE',
    message: `The value of "order" is out of range. It must be an integer in 18..46. Received ${shown}`,
  });
});
