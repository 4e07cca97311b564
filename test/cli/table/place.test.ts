import { describe, expect, test } from 'vitest';
import { parseEmulatedSpec } from '../../../lib/cli/table/emulated-spec.js';
import { placeOf } from '../../../lib/cli/table/place.js';
import { UsageError } from '../../../lib/cli/errors/usage-error.js';

const SPEC = parseEmulatedSpec('', 'source');

describe('where a table is', () => {
  test.each([
    [{}, 'no table given'],
    [{ order: 20 }, 'no table given'],
    [{ htabFd: 3, order: 20, emulated: SPEC }, 'no table given'],
    [{ pid: 1, order: 20 }, '--pid needs --pid-fd'],
    [{ pidFd: 3, order: 20 }, '--pid-fd needs --pid'],
    [{ pidFd: 3, emulated: SPEC }, '--pid-fd needs --pid'],
    [{ vmFd: 3, htabFd: 3, order: 20 }, '--vm-fd needs --attach'],
    [{ attach: 7, htabFd: 3, order: 20 }, 'no table given'],
    [{ htabFd: 3 }, 'need --order'],
    [{ pid: 1, pidFd: 3 }, 'need --order'],
  ])('cannot be told from %j', (options, message) => {
    expect(() => placeOf(options)).toThrow(UsageError);
    expect(() => placeOf(options)).toThrow(message);
  });

  test('is one of five places', () => {
    expect(placeOf({ htabFd: 0, order: 20 })).toEqual({
      kind: 'descriptor',
      pid: undefined,
      fd: 0,
      order: 20,
    });
    expect(placeOf({ pid: 7, pidFd: 4, order: 20 })).toEqual({
      kind: 'descriptor',
      pid: 7,
      fd: 4,
      order: 20,
    });
    expect(placeOf({ htabSocket: '/x', order: 20 })).toEqual({ kind: 'socket', path: '/x', order: 20 });
    expect(placeOf({ htabSocket: '/x' })).toEqual({ kind: 'socket', path: '/x', order: undefined });
    expect(placeOf({ attach: 7, vmFd: 4 })).toEqual({ kind: 'attach', pid: 7, fd: 4, order: undefined });
    expect(placeOf({ emulated: SPEC })).toEqual({ kind: 'emulated', spec: SPEC });
  });
});
