import { createRequire } from 'node:module';
import path from 'node:path';

/** The folder of this package: where its addon, its version and the demo's data are, however its code is bundled. */
export function packageRoot(): string {
  return path.dirname(createRequire(import.meta.url).resolve('kvm-htab/package.json'));
}
