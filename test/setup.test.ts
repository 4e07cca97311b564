import { appendFileSync, cpSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { inputsOf, isCompiled, isInstalled, markCompiled } from '../scripts/setup-state.mjs';
import { scratchFolder } from './scratch.js';

const scratch = scratchFolder();
const checkout = path.resolve(import.meta.dirname, '..');
let count = 0;

function folder(): string {
  const root = path.join(scratch, String(count++));
  mkdirSync(root);
  return root;
}

describe('what setup compiled', () => {
  const INPUTS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];
  const SCRIPTS = ['scripts/compile.mjs', 'scripts/bundle.mjs'];

  function compiled(): string {
    const root = folder();
    for (const file of [...INPUTS, ...SCRIPTS])
      cpSync(path.join(checkout, file), path.join(root, file), { recursive: true });
    for (const name of ['lib/hpt', 'dist/bundle']) mkdirSync(path.join(root, name), { recursive: true });
    writeFileSync(path.join(root, 'lib/hpt/table.ts'), 'export {};');
    for (const file of ['dist/index.js', 'dist/bundle/index.js']) writeFileSync(path.join(root, file), '//');
    markCompiled(root, inputsOf(root));
    return root;
  }

  test.each([...INPUTS, ...SCRIPTS, 'lib/hpt/table.ts', 'dist/index.js', 'dist/bundle/index.js'])(
    'is out of date when %s has changed or gone, and is not when it was only touched',
    (file) => {
      const root = compiled();
      const full = path.join(root, file);
      expect(isCompiled(root)).toBe(true);
      utimesSync(full, 2e9, 2e9);
      expect(isCompiled(root)).toBe(true);
      appendFileSync(full, ' ');
      expect(isCompiled(root)).toBe(false);
      rmSync(full);
      expect(isCompiled(root)).toBe(false);
    },
  );

  test('is out of date when a source is new or dist/ has gone; other files in dist/ do not count', () => {
    const root = compiled();
    mkdirSync(path.join(root, 'dist/other'));
    writeFileSync(path.join(root, 'dist/other/file'), '');
    expect(isCompiled(root)).toBe(true);
    writeFileSync(path.join(root, 'lib/new.ts'), '');
    expect(isCompiled(root)).toBe(false);
    rmSync(path.join(root, 'lib/new.ts'));
    expect(isCompiled(root)).toBe(true);
    rmSync(path.join(root, 'dist'), { recursive: true });
    expect(isCompiled(root)).toBe(false);
  });
});

describe('what npm installed', () => {
  const locked = {
    '': { version: '1.0.0' },
    'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/for-other-machines': { version: '1.0.0', integrity: 'sha512-b', optional: true },
  };
  const installed = { 'node_modules/a': locked['node_modules/a'] };

  test.each([
    ['is complete without the optional packages for other machines', locked, installed, true],
    [
      'is stale when a version has changed',
      { ...locked, 'node_modules/a': { version: '1.0.1', integrity: 'sha512-c' } },
      installed,
      false,
    ],
    [
      'is stale when the contents of a version have changed',
      { ...locked, 'node_modules/a': { version: '1.0.0', integrity: 'sha512-c' } },
      installed,
      false,
    ],
    ['is stale when a package is missing', locked, {}, false],
    [
      'is stale when there is a package too many',
      locked,
      { ...installed, 'node_modules/old': { version: '1.0.0' } },
      false,
    ],
    ['is missing when npm has not run', locked, undefined, false],
  ])('%s', (_title, lock, hidden, expected) => {
    const root = folder();
    mkdirSync(path.join(root, 'node_modules'));
    writeFileSync(path.join(root, 'package-lock.json'), JSON.stringify({ packages: lock }));
    if (hidden !== undefined)
      writeFileSync(path.join(root, 'node_modules/.package-lock.json'), JSON.stringify({ packages: hidden }));
    expect(isInstalled(root)).toBe(expected);
  });
});
