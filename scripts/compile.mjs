// Compiles lib/ into dist/: every module with its types, the bundle with the public types, and the manual page.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { root } from './native/toolchain.mjs';
import { inputsOf, isIntact, markCompiled } from './setup-state.mjs';

// The compiler writes what has changed in the sources, and would not notice that a file of its own is missing.
if (!isIntact(root)) rmSync(path.join(root, 'dist'), { recursive: true, force: true });

const inputs = inputsOf(root);
for (const args of [
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
  ['scripts/bundle.mjs'],
  ['scripts/man-page.mjs'],
]) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
markCompiled(root, inputs);
