// Compilers, headers and node-gyp, as the scripts that build the addon use them.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Where node-gyp leaves the addon, under the folder that it built. */
export const BUILT = path.join('build', 'Release', 'kvm_htab.node');
/** What tells whether that is up to date. */
export const STAMP = 'build/sources.sha256';

/**
 * @typedef {object} Target
 * @property {string} gypArch the architecture's name for node-gyp and Node
 * @property {string} prefix what the names of the target's tools begin with
 */

/** @type {Readonly<Record<string, Target>>} */
export const targets = {
  x64: { gypArch: 'x64', prefix: process.arch === 'x64' ? '' : 'x86_64-linux-gnu-' },
  // Node calls both byte orders ppc64; the addon is for the little-endian one only.
  ppc64le: { gypArch: 'ppc64', prefix: process.arch === 'ppc64' ? '' : 'powerpc64le-linux-gnu-' },
};

/** The target this machine is, or undefined where the addon has none. */
export const hostTarget = Object.keys(targets).find((name) => targets[name]?.gypArch === process.arch);

/** @param {string} command */
export function hasCommand(command) {
  const { status, error } = spawnSync(command, ['--version'], { stdio: 'ignore' });
  return error === undefined && status === 0;
}

/** The folder whose include/node has this Node's headers. Without it node-gyp would fetch them. */
export function headersFolder() {
  const folder = path.resolve(process.execPath, '../..');
  return existsSync(path.join(folder, 'include/node/node_api.h')) ? folder : undefined;
}

/**
 * The environment in which node-gyp builds for a target.
 *
 * @param {Target} target
 * @param {Record<string, string>} [extra]
 * @returns {NodeJS.ProcessEnv}
 */
export function buildEnvironment({ prefix }, extra = {}) {
  const nodedir = headersFolder();
  return {
    ...process.env,
    // node-gyp takes the host's own tools by itself, or those of CC and CXX.
    ...(prefix === '' ? {} : { CC: `${prefix}gcc`, CXX: `${prefix}g++`, AR: `${prefix}ar` }),
    ...(nodedir === undefined ? {} : { npm_config_nodedir: nodedir }),
    ...extra,
  };
}

/** What keeps a target from being built here, or undefined. @param {Target} target */
export function missingFor({ prefix }) {
  const compiler = prefix === '' ? (process.env['CXX'] ?? 'g++') : `${prefix}g++`;
  return [compiler, 'make', 'python3'].find((command) => !hasCommand(command));
}

/** Changes with anything that a build depends on, and with what was built. @param {string} built */
function fingerprint(built) {
  const files = readdirSync(path.join(root, 'native'), { withFileTypes: true }).filter((each) =>
    each.isFile(),
  );
  const sources = files.map(({ name }) => `native/${name}`);
  const hash = createHash('sha256').update(process.version + process.arch);
  for (const file of ['binding.gyp', 'node_modules/node-addon-api/package.json', ...sources.sort(), built]) {
    hash.update(file).update(readFileSync(path.join(root, file)));
  }
  return hash.digest('hex');
}

/** Remembers what a file was built from. @param {string} built @param {string} stamp both from the root */
export function markBuilt(built, stamp) {
  writeFileSync(path.join(root, stamp), fingerprint(built));
}

/** Whether the file is as it was built, and from what is here. @param {string} built @param {string} stamp */
export function isUpToDate(built, stamp) {
  return (
    [built, stamp].every((file) => existsSync(path.join(root, file))) &&
    readFileSync(path.join(root, stamp), 'utf8') === fingerprint(built)
  );
}

/**
 * A fresh copy of the addon's sources: a build there leaves the checkout's own build alone. The copy lies inside the
 * checkout, so that node-addon-api is found from it.
 *
 * @param {string} name
 */
export function stage(name) {
  const folder = path.join(root, '.cache/native', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of ['binding.gyp', 'native', 'package.json']) {
    cpSync(path.join(root, part), path.join(folder, part), { recursive: true });
  }
  return folder;
}

/**
 * Runs node-gyp; shows its output, on stderr, only when it fails.
 *
 * @param {string[]} args
 * @param {Target} target
 * @param {Record<string, string>} [environment]
 * @returns {boolean} whether it succeeded
 */
function nodeGyp(args, target, environment) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules/node-gyp/bin/node-gyp.js'), ...args],
    { env: buildEnvironment(target, environment), encoding: 'utf8' },
  );
  if (status === 0) return true;
  process.stderr.write(`${stdout}${stderr}`);
  return false;
}

/**
 * Builds the addon in a folder that has its sources.
 *
 * @param {string} folder
 * @param {Target} target
 * @param {Record<string, string>} [environment]
 * @returns {boolean} whether it was built
 */
export function rebuild(folder, target, environment) {
  return nodeGyp(
    ['rebuild', `--directory=${folder}`, `--arch=${target.gypArch}`, '--jobs=2'],
    target,
    environment,
  );
}

/**
 * Tells clang's tools how each source is compiled, by binding.gyp and Node's own flags.
 *
 * @param {string} folder one with the sources; its build/Release gets the compile_commands.json
 * @returns {boolean} whether it was written
 */
export function writeCompileCommands(folder) {
  const args = ['configure', `--directory=${folder}`, '--', '-f', 'compile_commands_json'];
  return nodeGyp(args, { gypArch: process.arch, prefix: '' });
}
