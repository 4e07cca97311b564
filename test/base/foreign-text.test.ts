import { describe, expect, test } from 'vitest';
import { escapeText, foreignText, quotedText } from '../../lib/base/foreign-text.js';

/** Every code point, surrogates included. */
const codePoints = Array.from({ length: 0x11_0000 }, (_, codePoint) => codePoint);
/** General categories that a terminal or a log may act upon or not show: one character each, to see that it is among them. */
const UNSAFE = {
  Cc: '\u009b',
  Cf: '\u202e',
  Cs: '\ud800',
  Co: '\ue000',
  Cn: '\uffff',
  Zl: '\u2028',
  Zp: '\u2029',
} as const;

describe.each(Object.entries(UNSAFE))('general category %s', (category, example) => {
  const inCategory = new RegExp(`\\p{${category}}`, 'u');
  const characters = codePoints
    .map((codePoint) => String.fromCodePoint(codePoint))
    .filter((character) => inCategory.test(character));

  test('every character of it is escaped, and JSON reads the escape as that character', () => {
    expect(characters).toContain(example);
    const wrong = characters.filter((character) => {
      const escaped = escapeText(character);
      return !/^(\\[nrt]|(\\u[\da-f]{4}){1,2})$/.test(escaped) || JSON.parse(`"${escaped}"`) !== character;
    });
    expect(wrong).toEqual([]);
  });
});

test('every other character stays as it is', () => {
  const unsafe = new RegExp(`[${Object.keys(UNSAFE).map((category) => `\\p{${category}}`).join('')}]`, 'u'); // prettier-ignore
  const safe = codePoints
    .map((codePoint) => String.fromCodePoint(codePoint))
    .filter((each) => !unsafe.test(each));
  expect(safe.length).toBeGreaterThan(100_000);
  expect(safe.filter((character) => escapeText(character) !== character)).toEqual([]);
});

test('what is escaped stays so when it is escaped again', () => {
  const text = escapeText('a\u007f\u0085\n"\\\u202e\u{e0001}z');
  expect(text).toBe('a\\u007f\\u0085\\n"\\\\u202e\\udb40\\udc01z');
  expect(escapeText(text)).toBe(text);
});

test('a quoted text is a JSON string of that text', () => {
  const text = 'no "such" VM\\ \u009b2J\u2028\u202e\n';
  expect(JSON.parse(quotedText(text))).toBe(text);
  expect(quotedText(text)).toBe('"no \\"such\\" VM\\\\ \\u009b2J\\u2028\\u202e\\n"');
});

test('a foreign text is cut, and has no blanks around it', () => {
  expect(foreignText(' tired\n')).toBe('tired');
  expect(foreignText('x'.repeat(501))).toBe('x'.repeat(500));
  expect(quotedText('x'.repeat(501))).toBe(`"${'x'.repeat(500)}"`);
});
