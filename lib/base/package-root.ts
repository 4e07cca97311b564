import { createRequire } from 'node:module';
import path from 'node:path';

/**
 * The folder of this package, as installed: where its addon, its version and the demo's data are.
 *
 * @throws Error where this code is part of a bundle and the package itself is not installed
 */
export function packageRoot(): string {
  return path.dirname(createRequire(import.meta.url).resolve('kvm-htab/package.json'));
}
