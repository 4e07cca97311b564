// Builds the addon.
//
//   node scripts/build-native.mjs [--if-possible]                into build/Release, unless that is up to date
//   node scripts/build-native.mjs --target ppc64le --out FILE    for that machine, into FILE
//
// With --if-possible a machine that cannot build it is told so, and that is no failure: everything but the kvm backend
// works without the addon.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  BUILT,
  headersFolder,
  hostTarget,
  missingFor,
  rebuild,
  root,
  stage,
  targets,
} from './native/toolchain.mjs';

const { values } = parseArgs({
  options: {
    'if-possible': { type: 'boolean', default: false },
    target: { type: 'string' },
    out: { type: 'string' },
  },
});

/** @param {string} line */
const say = (line) => process.stderr.write(`build-native: ${line}\n`);

/**
 * @param {string} reason
 * @returns {never}
 */
function giveUp(reason) {
  if (!values['if-possible']) {
    say(reason);
    process.exit(1);
  }
  say(`the addon was not built: ${reason} (everything but the kvm backend works without it)`);
  process.exit(0);
}

/** Changes with anything that the build depends on. */
function fingerprint() {
  const sources = readdirSync(path.join(root, 'native')).map((name) => `native/${name}`);
  const hash = createHash('sha256').update(process.version + process.arch);
  for (const file of ['binding.gyp', 'node_modules/node-addon-api/package.json', ...sources.sort()]) {
    hash.update(file).update(readFileSync(path.join(root, file)));
  }
  return hash.digest('hex');
}

const name = values.target ?? hostTarget;
const target = name === undefined ? undefined : targets[name];
if (process.platform !== 'linux') giveUp(`the addon is for Linux; this is ${process.platform}`);
if (target === undefined) {
  giveUp(`no target ${name ?? process.arch}; there are ${Object.keys(targets).join(', ')}`);
}
if ((values.target === undefined) !== (values.out === undefined)) {
  giveUp('--target and --out go together');
}

const built = path.join(root, BUILT);
const stamp = path.join(root, 'build/sources.sha256');
const wanted = fingerprint();
const upToDate = () => existsSync(built) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;

if (values.out === undefined && upToDate()) process.exit(0);
const missing = missingFor(target);
if (missing !== undefined) giveUp(`${missing} is not installed`);
if (headersFolder() === undefined) giveUp(`this Node (${process.execPath}) has no C headers beside it`);

if (values.out === undefined) {
  say('compiling the addon');
  if (!rebuild(root, target)) giveUp('the compiler failed, see above');
  writeFileSync(stamp, wanted);
} else {
  const folder = stage(`${name}`);
  if (!rebuild(folder, target)) giveUp('the compiler failed, see above');
  mkdirSync(path.dirname(path.resolve(values.out)), { recursive: true });
  copyFileSync(path.join(folder, BUILT), values.out);
}
