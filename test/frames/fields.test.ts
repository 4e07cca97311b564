import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeFields,
  isBoolean,
  isCount,
  isDigest,
  isOneOf,
  isOptional,
  isText,
  isWithin,
  parseFields,
  pickFields,
} from '../../lib/frames/fields.js';

const refuse = (name: string): Error => new Error(`no valid ${name}`);

describe('fields of a frame', () => {
  test('are a JSON object, and come back', () => {
    const fields = { order: 23, host: null, text: 'é\u0000"' };
    expect(parseFields(encodeFields(fields))).toEqual(fields);
  });

  test.each([
    '',
    '[',
    '7',
    'null',
    '"text"',
    '{"a":1',
    '{"a":1}x',
    '\u00ff',
    '[]',
    '{"a":"\u00ff"}',
    '\u00ef\u00bb\u00bf{}',
  ])('are not in %j', (text) => {
    expect(parseFields(Buffer.from(text, 'latin1'))).toBeUndefined();
  });

  test('are looked for in the memory they are given, not around it', () => {
    const bytes = Buffer.from('x{"a":1}x');
    expect(parseFields(bytes.subarray(1, 8))).toEqual({ a: 1 });
  });

  test('that are wanted are picked, others left out', () => {
    const picked = pickFields<{ order: number }>(
      { order: 18, since: 2 },
      { order: isWithin(18, 36) },
      refuse,
    );
    expect(picked).toEqual({ order: 18 });
  });

  test.each([
    {},
    { order: 17 },
    { order: 37 },
    { order: 18.5 },
    { order: '18' },
    JSON.parse('{"__proto__":{"order":18}}'),
  ])('are refused by name where one is missing or wrong: %j', (fields) => {
    expect(() => pickFields(fields as Record<string, unknown>, { order: isWithin(18, 36) }, refuse)).toThrow(
      'no valid order',
    );
  });

  test('that may be left out are checked where they are there', () => {
    const checks = { pass: isOptional(isCount) };
    expect(pickFields({}, checks, refuse)).toStrictEqual({});
    expect(pickFields({ pass: 3 }, checks, refuse)).toStrictEqual({ pass: 3 });
    expect(() => pickFields({ pass: -3 }, checks, refuse)).toThrow('pass');
  });

  test('are not taken from a prototype', () => {
    expect(() => pickFields({}, { constructor: (value) => value !== undefined }, refuse)).toThrow(
      'no valid constructor',
    );
  });

  test('decoded from arbitrary bytes are an object or nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        const fields = parseFields(Buffer.from(text));
        expect(fields === undefined || typeof fields === 'object').toBe(true);
      }),
    );
  });
});

test.each([
  ['isCount', isCount, [0, 1, 2 ** 53 - 1], [-1, 1.5, '1', null, 2 ** 53, Number.NaN, undefined]],
  ['isText', isText, ['', 'x'.repeat(1024)], ['x'.repeat(1025), 1, null]],
  ['isBoolean', isBoolean, [true, false], [0, 'true', null]],
  ['isDigest', isDigest, ['0a'.repeat(32)], ['0A'.repeat(32), '0a'.repeat(31), `${'0a'.repeat(32)}\n`, 1]],
  ['isWithin(18, 36)', isWithin(18, 36), [18, 36], [17, 37, 18.5, '18', null]],
  ["isOneOf('a', null)", isOneOf('a', null), ['a', null], ['b', undefined, '']],
] as const)('%s holds for what it says and nothing else', (_name, check, right, wrong) => {
  expect(right.filter((value) => !check(value))).toEqual([]);
  expect(wrong.filter((value) => check(value))).toEqual([]);
});
