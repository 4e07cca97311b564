// Builds the addon into build/Release, unless that is up to date.
//
//   node scripts/build-native.mjs [--if-possible]
//
// With --if-possible a machine that cannot build it is told so, and that is no failure: everything but the kvm backend
// works without the addon.
import {
  BUILT,
  STAMP,
  headersFolder,
  hostTarget,
  isUpToDate,
  markBuilt,
  missingFor,
  rebuild,
  root,
  targets,
} from './native/toolchain.mjs';

/** @param {string} line */
const say = (line) => process.stderr.write(`build-native: ${line}\n`);

/**
 * @param {string} reason
 * @returns {never}
 */
function giveUp(reason) {
  if (!process.argv.includes('--if-possible')) {
    say(reason);
    process.exit(1);
  }
  say(`the addon was not built: ${reason} (everything but the kvm backend works without it)`);
  process.exit(0);
}

const target = hostTarget === undefined ? undefined : targets[hostTarget];
if (process.platform !== 'linux') giveUp(`the addon is for Linux; this is ${process.platform}`);
if (target === undefined) giveUp(`no target ${process.arch}; there are ${Object.keys(targets).join(', ')}`);
if (isUpToDate(BUILT, STAMP)) process.exit(0);
const missing = missingFor(target);
if (missing !== undefined) giveUp(`${missing} is not installed`);
if (headersFolder() === undefined) giveUp(`this Node (${process.execPath}) has no C headers beside it`);
say('compiling the addon');
if (!rebuild(root, target)) giveUp('the compiler failed, see above');
markBuilt(BUILT, STAMP);
