import { expect, test } from 'vitest';
import { outOfRange } from '../../lib/arguments.js';
import { HtabSystemError, errnoName, errnoNumber } from '../../lib/errors.js';

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

test.each([
  [95, 'EOPNOTSUPP'],
  [11, 'EAGAIN'],
  [35, 'EDEADLK'],
  [22, 'EINVAL'],
])('errno %i has the name that the kernel’s documentation gives it', (errno, name) => {
  expect(errnoName(errno)).toBe(name);
  expect(errnoNumber(name)).toBe(errno);
});

test.each([524, 133])('errno %i, which Node has no name for, makes an error all the same', (errno) => {
  const error = new HtabSystemError('read', errnoName(errno), { operation: 'read HPT records' });
  expect(error.errno).toBe(errno);
  expect(error.message).toBe(`read HPT records: read failed with errno ${errno}`);
});

test('a name that is none is a RangeError', () => {
  expect(() => errnoNumber('EFOO')).toThrow(RangeError);
  expect(() => errnoNumber('errno x')).toThrow(RangeError);
});
