// Before npm packs: a package without its code or its addons would be packed without a word.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { root, targets } from './native/toolchain.mjs';

const shipped = ['dist/bundle/index.js', 'dist/types/index.d.ts'];
const missing = shipped.filter((name) => !existsSync(path.join(root, name)));
if (missing.length > 0) throw new Error(`there is no ${missing.join(', ')}: run "npm run setup" first`);
for (const [name, { gypArch }] of Object.entries(targets)) {
  if (existsSync(path.join(root, `prebuilds/linux-${gypArch}`))) continue;
  process.stderr.write(`kvm-htab: the package will have no addon for ${name}: "npm run prebuild" makes it\n`);
}
