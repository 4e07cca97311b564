import { expect, test } from 'vitest';
import { formatBytes, formatCount, formatDuration, formatTable } from '../../../lib/cli/report/format.js';

test('counts have separators', () => {
  expect([0, 999, 17_812, 2 ** 32].map(formatCount)).toEqual(['0', '999', '17,812', '4,294,967,296']);
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [9_994, '9.99 kB'],
  [9_996, '10.0 kB'],
  [416_200, '416 kB'],
  [999_499, '999 kB'],
  [999_500, '1.00 MB'],
  [2 ** 36, '68.7 GB'],
  [2 ** 60, '1152922 TB'],
])('%i bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test('durations change their unit at one second', () => {
  expect([0, 12.34, 999.94, 1000, 65_432].map(formatDuration)).toEqual([
    '0.0 ms',
    '12.3 ms',
    '999.9 ms',
    '1.00 s',
    '65.43 s',
  ]);
});

test('a table aligns its first column to the left and the others to the right', () => {
  expect(
    formatTable([
      ['pass', 'entries'],
      ['1', '17,812'],
      ['2 (guest stopped)', '8'],
    ]),
  ).toBe('pass               entries\n1                   17,812\n2 (guest stopped)        8');
});
