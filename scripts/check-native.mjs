// Builds the addon with each compiler, where every warning is an error, and runs clang-tidy over it. Skips a tool that
// is not installed; with --require-all (CI) that is a failure.
import { spawnSync } from 'node:child_process';
import {
  hasCommand,
  headersFolder,
  hostTarget,
  rebuild,
  stage,
  targets,
  writeCompileCommands,
} from './native/toolchain.mjs';

const requireAll = process.argv.includes('--require-all');
const target = hostTarget === undefined ? undefined : targets[hostTarget];
if (target === undefined || headersFolder() === undefined) {
  const missing = target === undefined ? `a target for ${process.arch}` : "this Node's C headers";
  process.stderr.write(`check-native: skipped: missing: ${missing}\n`);
  process.exit(requireAll ? 1 : 0);
}
const folder = stage('check');

/** @param {string} compiler */
const compile = (compiler) => rebuild(folder, target, { CXX: compiler, CXXFLAGS: '-Werror' });

function tidy() {
  if (!writeCompileCommands(folder)) return false;
  const { status, stdout, stderr } = spawnSync('run-clang-tidy', ['-quiet', '-p', 'build/Release'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0) process.stderr.write(`${stdout}${stderr}`);
  return status === 0;
}

/**
 * @param {string} tool
 * @param {(tool: string) => boolean} check
 * @returns {boolean} whether this run may succeed
 */
function run(tool, check) {
  const installed = hasCommand(tool);
  const clean = installed && check(tool);
  const outcome = !installed ? 'skipped: it is not installed' : clean ? 'clean' : 'failed: see above';
  process.stderr.write(`check-native: ${tool}: ${outcome}\n`);
  return clean || (!installed && !requireAll);
}

const results = [run('g++', compile), run('clang++', compile), run('clang-tidy', tidy)];
process.exit(results.every(Boolean) ? 0 : 1);
