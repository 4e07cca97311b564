// The releases of Node that the package is tried on: the oldest that it is for, and the first of each line since.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { root } from './native/toolchain.mjs';

const VERSIONS = ['20.19.0', '22.23.5', '24.22.3'];

/**
 * Fetches them into .cache, where they are not there yet. Each is a package of npm's that has nothing but the binary.
 *
 * @returns {string[]} their executables, the oldest first
 */
export function otherNodes() {
  const name = `node-linux-${process.arch === 'ppc64' ? 'ppc64le' : process.arch}`;
  return VERSIONS.map((version) => {
    const folder = path.join(root, '.cache', `node-${version}`);
    const file = path.join(folder, 'node_modules', name, 'bin/node');
    const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    if (!existsSync(file)) {
      spawnSync('npm', ['install', ...options, `--prefix=${folder}`, `${name}@${version}`], {
        stdio: 'inherit',
      });
    }
    const { stdout } = spawnSync(file, ['--version'], { encoding: 'utf8' });
    if (stdout.trim() !== `v${version}`) throw new Error(`${file} is not Node ${version}: ${stdout}`);
    return file;
  });
}
