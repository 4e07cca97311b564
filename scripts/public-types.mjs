// Of the declarations that the compiler writes, those that the package's entry points lead to go to dist/types, which is
// published; the others describe what nobody outside can import.
import { cpSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const types = path.join(dist, 'types');
rmSync(types, { recursive: true, force: true });

/** @type {Set<string>} */
const reached = new Set(['index.d.ts', 'testing.d.ts']);
// A set's loop comes to what is added to it on the way.
for (const file of reached) {
  const text = readFileSync(path.join(dist, file), 'utf8');
  for (const [, imported] of text.matchAll(/\b(?:from |import\()["'](\.[^"']+)\.js["']/g)) {
    reached.add(path.join(path.dirname(file), `${imported ?? ''}.d.ts`));
  }
  cpSync(path.join(dist, file), path.join(types, file));
}
