import { expect, test, vi } from 'vitest';
import { outOfRangeError } from '../../lib/base/arguments.js';
import { errnoName, errnoNumber } from '../../lib/base/errno.js';
import { HtabError, HtabStateError, HtabSystemError, isHtabError } from '../../lib/base/errors.js';

test.each([
  ['18', "'18'"],
  [18.5, '18.5'],
  [18n, '18n'],
  [undefined, 'undefined'],
  [{ guestAddress: 1n, size: 2n }, '{ guestAddress: 1n, size: 2n }'],
])('a RangeError shows %o as Node does', (received, shown) => {
  expect(outOfRangeError('order', 'an integer in 18..46', received)).toMatchObject({
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

test('what is not known of an error is no field of it', () => {
  const system = new HtabSystemError('read', 'EIO', { operation: 'read HPT records', hint: undefined });
  expect(Object.keys(system)).toEqual(['code', 'errno', 'errnoName', 'syscall', 'operation']);
  expect(Object.keys(new HtabStateError('closed', 'the reader is closed'))).toEqual(['code', 'state']);
});

class MyError extends HtabError {
  constructor() {
    super('ERR_HTAB_STATE', 'mine');
  }
}

/** Of a name that the package has too. */
const Namesake = { HtabStateError: class HtabStateError extends HtabError {} }.HtabStateError;

test('a class derived from ours is one of its own', () => {
  const mine = new MyError();
  expect([mine instanceof MyError, mine instanceof HtabError, isHtabError(mine)]).toEqual([true, true, true]);
  const ours = new HtabStateError('closed', 'the reader is closed');
  expect([ours instanceof MyError, ours instanceof Namesake, mine instanceof HtabStateError]).toEqual([
    false,
    false,
    false,
  ]);
});

test('an error of another copy of the package is one of ours', async () => {
  vi.resetModules();
  const other = await import('../../lib/base/errors.js');
  expect(other.HtabStateError).not.toBe(HtabStateError);
  const error = new other.HtabStateError('closed', 'the reader is closed');
  expect([
    error instanceof HtabStateError,
    error instanceof HtabError,
    error instanceof HtabSystemError,
  ]).toEqual([true, true, false]);
});

test('a name that is none is a RangeError', () => {
  expect(() => errnoNumber('EFOO')).toThrow(RangeError);
  expect(() => errnoNumber('errno x')).toThrow(RangeError);
});
