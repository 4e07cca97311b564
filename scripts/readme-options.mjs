// The compiler options that the README gives to those who use TypeScript.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './native/toolchain.mjs';

/** @returns {Record<string, unknown>} */
export function compilerOptions() {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const [, block] = /^```json\n(\{\s*"compilerOptions"[^]*?)^```$/m.exec(readme) ?? [];
  if (block === undefined) throw new Error('the README has no ```json block with "compilerOptions"');
  /** @type {unknown} */
  const config = JSON.parse(block);
  return /** @type {{ compilerOptions: Record<string, unknown> }} */ (config).compilerOptions;
}
