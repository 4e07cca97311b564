import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const readme = await readFile(path.join(root, 'README.md'), 'utf8');
const examples = [...readme.matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code!);

test('the README has examples to run', () => {
  expect(examples.length).toBeGreaterThanOrEqual(2);
});

test.each(examples.map((code, index) => [index + 1, code] as const))(
  'example %i of the README runs as it stands and prints no false',
  async (_number, code) => {
    // Inside the package, where its own name leads to what was compiled.
    const folder = await mkdtemp(path.join(root, 'dist/readme-'));
    try {
      const file = path.join(folder, 'example.mjs');
      await writeFile(file, code);
      const { stdout } = await promisify(execFile)(process.execPath, [file]);
      expect(stdout).toMatch(/true/);
      expect(stdout).not.toMatch(/false/);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test('the C example of the README is the program that runs in front of the real kernel', async () => {
  const [, shown] = /^```c\n([^]*?)^```$/m.exec(readme)!;
  const program = await readFile(path.join(root, 'test/power/vmm/handover.c'), 'utf8');
  expect(program).toMatch(/^\/\/ .*\n\n#include/);
  expect(shown).toBe(program.slice(program.indexOf('#include')));
});
