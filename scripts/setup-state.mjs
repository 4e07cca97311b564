// Whether the outputs of `npm run setup` are up to date. Compares contents, not times: notices a pull or another branch,
// ignores a touch.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** What the compiled files depend on, besides lib/. The lock file stands for the compilers' versions. */
const INPUTS = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts/compile.mjs',
  'scripts/bundle.mjs',
  'scripts/bundle-chunks.mjs',
  'scripts/command-tree.mjs',
  'scripts/man-page.mjs',
];
const STAMP = 'dist/.setup.json';

/** @param {string} file @returns {unknown} */
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

/**
 * @typedef {Record<string, { version?: string, integrity?: string, optional?: boolean }>} Packages
 * @param {string} file a lock file of npm's
 */
function packagesOf(file) {
  const { packages } = /** @type {{ packages: Packages }} */ (readJson(file));
  return packages;
}

/**
 * Whether node_modules holds what the lock file demands: npm keeps in it what it has installed. Of optional packages it
 * takes those that are for this machine.
 *
 * @param {string} root
 */
export function isInstalled(root) {
  const installedFile = path.join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const wanted = packagesOf(path.join(root, 'package-lock.json'));
  const installed = packagesOf(installedFile);
  return (
    Object.entries(installed).every(
      ([name, { version, integrity }]) =>
        wanted[name]?.version === version && wanted[name]?.integrity === integrity,
    ) &&
    Object.entries(wanted).every(
      ([name, { optional = false }]) => name === '' || optional || installed[name] !== undefined,
    )
  );
}

/** @param {string} root @param {readonly string[]} files relative to root; a missing file changes the hash too */
function hashOf(root, files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const full = path.join(root, file);
    const bytes = existsSync(full) ? readFileSync(full) : undefined;
    hash.update(`${file}\0${bytes?.length ?? 'missing'}\0`).update(bytes ?? '');
  }
  return hash.digest('hex');
}

/** @param {string} root @param {string} folder @returns {string[]} its files at any depth, from root */
function filesIn(root, folder) {
  return readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => path.relative(root, path.join(each.parentPath, each.name)))
    .sort();
}

/** Hash of everything the compiled files depend on. @param {string} root */
export const inputsOf = (root) => hashOf(root, [...INPUTS, ...filesIn(root, 'lib')]);

/** @typedef {{ inputs: string, files: string[], outputs: string }} Stamp */

/** @param {string} root @returns {Stamp | undefined} */
function stampOf(root) {
  const file = path.join(root, STAMP);
  return existsSync(file) ? /** @type {Stamp} */ (readJson(file)) : undefined;
}

/** Whether the compiled files are unchanged. Other files in dist/ do not count. @param {string} root */
export function isIntact(root) {
  const stamp = stampOf(root);
  return stamp !== undefined && stamp.outputs === hashOf(root, stamp.files);
}

/** Whether the compiled files are unchanged and match the sources. @param {string} root */
export const isCompiled = (root) => stampOf(root)?.inputs === inputsOf(root) && isIntact(root);

/** Records what dist/ was compiled from. @param {string} root @param {string} inputs hash before the compilation */
export function markCompiled(root, inputs) {
  const files = filesIn(root, 'dist').filter((file) => file !== STAMP);
  const stamp = { inputs, files, outputs: hashOf(root, files) };
  writeFileSync(path.join(root, STAMP), JSON.stringify(stamp));
}
