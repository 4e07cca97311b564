// Sets up a fresh clone: dependencies, compiled TypeScript and, if there is a compiler, the addon. Does nothing if all
// is up to date.
import { spawnSync } from 'node:child_process';
import { BUILT, STAMP, isUpToDate, root } from './native/toolchain.mjs';
import { isCompiled, isInstalled } from './setup-state.mjs';

process.chdir(root);

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {boolean} whether it succeeded
 */
function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    stdio: ['ignore', process.stderr.fd, process.stderr.fd],
  });
  return error === undefined && status === 0;
}

/** @param {string} line */
const say = (line) => process.stderr.write(`setup: ${line}\n`);

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  say(`Node ${process.versions.node} is too old: 20.19 or later is needed`);
  process.exit(1);
}
if (!isInstalled(root)) {
  say('installing dependencies');
  if (!run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'])) process.exit(1);
}
if (!isCompiled(root) && !run(process.execPath, ['scripts/compile.mjs'])) process.exit(1);
if (!isUpToDate(BUILT, STAMP)) {
  if (!run(process.execPath, ['scripts/build-native.mjs', '--if-possible'])) process.exit(1);
}
