import { expect, test } from 'vitest';
import { jsonDocument, jsonLine, reportFields } from '../../../lib/cli/report/json.js';

test('measured numbers have the digits that mean something, wherever they stand', () => {
  const report = { stopMs: 12.345678901234567, passes: [{ bytesPerSecond: 159_800.4321, scanned: 1 / 3 }] };
  expect(jsonLine(report)).toBe('{"stopMs":12.346,"passes":[{"bytesPerSecond":159800,"scanned":0.333}]}\n');
  expect(JSON.parse(jsonDocument(report))).toEqual(JSON.parse(jsonLine(report)));
});

test('counts, texts and what is not known stay as they are', () => {
  const fields = { bytes: 2 ** 40, digest: '0.123456', host: null, predictedStopMs: undefined };
  expect(jsonDocument(fields)).toBe(
    '{\n  "bytes": 1099511627776,\n  "digest": "0.123456",\n  "host": null\n}\n',
  );
});

test('passes is a number in every report', () => {
  const pass = { validEntries: 1 };
  expect(reportFields({ order: 18, passes: [pass, pass] })).toEqual({
    order: 18,
    passes: 2,
    passReports: [pass, pass],
  });
  expect(reportFields({ order: 18, passes: 2 })).toEqual({ order: 18, passes: 2 });
});

test('JSON on a terminal has nothing that the terminal acts upon, and is the same to a program', () => {
  const report = { message: '\u009b2J\u007f\u202e\u2028' };
  for (const text of [jsonLine(report), jsonDocument(report)]) {
    expect(text).toMatch(/^[ -~\n]*$/);
    expect(JSON.parse(text)).toEqual(report);
  }
});
