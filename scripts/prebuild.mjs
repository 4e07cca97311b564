// Makes the binaries that the package ships: prebuilds/linux-x64 and prebuilds/linux-ppc64 (little-endian, glibc). One
// that is up to date stays as it is: what was tested is what is shipped.
//
//   node scripts/prebuild.mjs [x64] [ppc64le]    default: both
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import {
  buildEnvironment,
  headersFolder,
  isUpToDate,
  markBuilt,
  missingFor,
  root,
  stage,
  targets,
} from './native/toolchain.mjs';

/** @param {string} line */
const say = (line) => process.stderr.write(`prebuild: ${line}\n`);

/** @param {string} name @returns {boolean} whether it is there */
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
  const file = `${folder}/node.napi.glibc.node`;
  const stamp = `.cache/native/prebuild-${name}.sha256`;
  if (isUpToDate(file, stamp)) {
    say(`${file} is up to date`);
    return true;
  }
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
  markBuilt(file, stamp);
  say(file);
  return true;
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(targets);
process.exit(names.map(prebuild).every(Boolean) ? 0 : 1);
