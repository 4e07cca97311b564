import { expect, test } from 'vitest';
import { checkInteger } from '../../../lib/base/arguments.js';
import { HtabError, HtabStateError, HtabSystemError } from '../../../lib/base/errors.js';
import { forOption, optionOf } from '../../../lib/base/for-option.js';
import { describeError } from '../../../lib/cli/errors/describe-error.js';
import { exitCodeOf } from '../../../lib/cli/errors/exit-codes.js';
import { brokenConnectionError, isBrokenConnection, migrationError } from '../../../lib/migration/errors.js';

const ENOENT = Object.assign(new Error('ENOENT: open'), { code: 'ENOENT' });

test('an error about an option begins with it as the command line has it', () => {
  const error = new HtabError('ERR_HTAB_MIGRATION', 'at most order 21 is accepted', { option: 'maxOrder' });
  expect(describeError(error)).toBe('--max-order: at most order 21 is accepted');
  expect(describeError(new Error('x', { cause: error }))).toBe(
    'x: --max-order: at most order 21 is accepted',
  );
  const stopped = new HtabStateError('busy', 'the guest reached its stop limit', { option: 'stopLimitMs' });
  expect(describeError(stopped)).toBe('--stop-limit-ms: the guest reached its stop limit');
});

test('a path that contains the name of an option stays as it is', () => {
  const error = new HtabSystemError('open', 'ENOENT', { operation: 'read /maxOrder/minEntries' });
  expect(describeError(error)).toBe('read /maxOrder/minEntries: open failed with ENOENT');
});

test('a wrong value of an option is invalid usage, any other wrong type is not', () => {
  expect(() => {
    checkInteger('maxOrder', 99, 18, 36);
  }).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE', option: 'maxOrder' }) as Error);
  expect(exitCodeOf(Object.assign(new RangeError('x'), { option: 'maxOrder' }))).toBe(2);
  expect(exitCodeOf(new TypeError('x is not a function'))).toBe(1);
  expect(exitCodeOf(new HtabError('ERR_HTAB_MIGRATION', 'x', { option: 'maxOrder' }))).toBe(1);
});

test('what an option asks for fails with its name, and with nothing else changed', async () => {
  const failure = new HtabSystemError('open', 'ENOENT', { operation: 'open the journal' });
  const error: unknown = await forOption('journal', Promise.reject(failure)).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBe(failure);
  expect(failure.message).toBe('open the journal: open failed with ENOENT');
  expect(optionOf(failure)).toBe('journal');
  const reason = new Error('interrupted');
  await expect(forOption('journal', Promise.reject(reason))).rejects.toBe(reason);
  expect(optionOf(reason)).toBeUndefined();
});

test('the text of an error has those of its causes, each once', () => {
  const refused = new Error('connect ECONNREFUSED');
  expect(describeError(new Error('unreachable', { cause: refused }))).toBe(
    'unreachable: connect ECONNREFUSED',
  );
  expect(describeError(new Error('no: connect ECONNREFUSED', { cause: refused }))).toBe(
    'no: connect ECONNREFUSED',
  );
  expect(describeError(new AggregateError([refused, new Error('second')], 'both'))).toBe(
    'both: connect ECONNREFUSED: second',
  );
  const made = new HtabSystemError('open', 'ENOENT', { operation: 'open the journal', cause: ENOENT });
  expect(describeError(made)).toBe('open the journal: open failed with ENOENT');
  expect(describeError('enough')).toBe('enough');
});

test('only a broken connection may be tried again', () => {
  const broken = brokenConnectionError('the connection ended', ENOENT);
  expect(broken).toMatchObject({ name: 'HtabError', code: 'ERR_HTAB_MIGRATION', cause: ENOENT });
  expect([broken, migrationError('no'), ENOENT].map(isBrokenConnection)).toEqual([true, false, false]);
});
