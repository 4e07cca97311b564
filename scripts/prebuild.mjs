// Makes the binaries that the package ships: prebuilds/linux-x64 and prebuilds/linux-ppc64 (little-endian, glibc).
//
//   node scripts/prebuild.mjs [x64] [ppc64le]    default: both
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { buildEnvironment, headersFolder, missingFor, root, stage, targets } from './native/toolchain.mjs';

/** @param {string} line */
const say = (line) => process.stderr.write(`prebuild: ${line}\n`);

/** @param {string} name @returns {boolean} whether it was made */
function prebuild(name) {
  const target = targets[name];
  if (target === undefined) {
    say(`no target ${name}; there are ${Object.keys(targets).join(', ')}`);
    return false;
  }
  const missing = missingFor(target) ?? (headersFolder() === undefined ? "this Node's C headers" : undefined);
  if (missing !== undefined) {
    say(`${name}: ${missing} is not installed`);
    return false;
  }
  const folder = `prebuilds/linux-${target.gypArch}`;
  rmSync(path.join(root, folder), { recursive: true, force: true });
  // In a copy of the sources: the checkout's own build/Release would be found before any prebuild.
  const options = [
    '--napi',
    '--strip',
    `--strip-bin=${target.prefix}strip`,
    '--cwd',
    stage(`prebuild-${name}`),
  ];
  const product = ['--platform=linux', `--arch=${target.gypArch}`, '--name=node.napi', '--tag-libc=glibc'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['node_modules/prebuildify/bin.js', ...options, ...product, '--target=20.19.0', '--out', root],
    { cwd: root, env: buildEnvironment(target), encoding: 'utf8' },
  );
  if (status !== 0) {
    process.stderr.write(`${stdout}${stderr}`);
    return false;
  }
  say(`${folder}/node.napi.glibc.node`);
  return true;
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(targets);
process.exit(names.map(prebuild).every(Boolean) ? 0 : 1);
