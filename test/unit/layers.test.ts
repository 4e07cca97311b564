import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');
const lib = path.join(root, 'lib');
const readme = readFileSync(path.join(root, 'README.md'), 'utf8');

/** The highest first, as the README has them; what stands in brackets is within one. */
const [, list] = /^The layers of `lib\/`[^:]*: ([^.]*)\./m.exec(readme)!;
const layers = [...list!.replace(/\([^)]*\)/g, '').matchAll(/`(\w+)`/g)].map(([, name]) => name!);

const layerOf = (file: string): number => layers.indexOf(path.relative(lib, file).split(path.sep)[0]!);

test('the README names the layers that there are', () => {
  const folders = readdirSync(lib, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual([...layers].sort());
});

test('no file imports from a layer above its own', () => {
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(lib, name))
    .filter((file) => layerOf(file) >= 0);
  const upward = files.flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/(?:from|import\() ?'(\.[^']+)'/g)]
      .map(([, name]) => path.resolve(path.dirname(file), name!))
      .filter((imported) => layerOf(imported) >= 0 && layerOf(imported) < layerOf(file))
      .map((imported) => `${path.relative(lib, file)} imports ${path.relative(lib, imported)}`),
  );
  expect(files.length).toBeGreaterThan(100);
  expect(upward).toEqual([]);
});
