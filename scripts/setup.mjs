// Makes a fresh clone ready: dependencies, compiled TypeScript and, where a compiler is there, the addon.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

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

const lockIsNewer = () =>
  !existsSync('node_modules/.package-lock.json') ||
  statSync('package-lock.json').mtimeMs > statSync('node_modules/.package-lock.json').mtimeMs;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  say(`Node ${process.versions.node} is too old: 20.19 or later is needed`);
  process.exit(1);
}
if (lockIsNewer()) {
  say('installing dependencies');
  if (!run('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'])) process.exit(1);
}
if (!run('npm', ['run', '--silent', 'compile'])) process.exit(1);
if (!run(process.execPath, ['scripts/build-native.mjs', '--if-possible'])) process.exit(1);
