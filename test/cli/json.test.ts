import { expect, test } from 'vitest';
import { jsonDocument, jsonLine } from '../../lib/cli/json.js';

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
