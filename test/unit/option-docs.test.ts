import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const lib = path.resolve(import.meta.dirname, '../../lib');
const sources = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readFileSync(path.join(lib, name), 'utf8'));

/** What a user of the package can set: all options, and what else stands in them. */
const OTHERS = ['SourceTable', 'TargetTable', 'PrecopyLimits', 'MemoryRegion', 'ForeignDescriptor'];
const exported = readFileSync(path.join(lib, 'index.ts'), 'utf8').matchAll(/(\w+)(?: as \w+)?[,} ]/g);
const interfaces = [...new Set([...exported].map(([, name]) => name!))]
  .filter((name) => name.endsWith('Options') || OTHERS.includes(name))
  .flatMap((name) => {
    const declaration = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'gm');
    return sources.flatMap((source) =>
      [...source.matchAll(declaration)].map(([, body]) => [name, body!] as const),
    );
  });

/** A range, or the few values that there are. */
const RANGE = /\d\.\.|\d to \d|\d or \d|\d or more/;

test.each(interfaces)('every option of %s has a comment, and every number its range', (_name, body) => {
  const options = [
    ...body.matchAll(/^((?: {2}\/\*\*(?:(?!\*\/)[^])*\*\/\n)?) {2}readonly (\w+)\??: ([^]*?);$/gm),
  ];
  expect(options.length).toBe(body.split(/^ {2}readonly /m).length - 1);
  const lacking = options.filter(([, comment, , type]) => {
    const isNumber = /^number\b|^bigint\b/.test(type!);
    return comment === '' || (isNumber && !RANGE.test(comment!));
  });
  expect(lacking.map(([, , option]) => option)).toEqual([]);
});

test('those are what the package exports', () => {
  expect(interfaces.length).toBeGreaterThan(20);
});
