// Compiles native/ with every warning an error, by g++ and by clang++, and runs clang-tidy over it. A tool that is not
// installed is skipped, and said to be; with --require-all (CI) that is a failure.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { compileCommands, hasCommand, headersFolder, root, stage } from './native/toolchain.mjs';

const requireAll = process.argv.includes('--require-all');

/** @param {string} line */
const say = (line) => process.stderr.write(`check-native: ${line}\n`);

/**
 * @param {string} tool
 * @param {() => boolean} check
 * @returns {boolean} false where this run must fail
 */
function run(tool, check) {
  if (!hasCommand(tool)) {
    say(`${tool}: skipped, it is not installed`);
    return !requireAll;
  }
  const clean = check();
  say(`${tool}: ${clean ? 'clean' : 'not clean, see above'}`);
  return clean;
}

const headers = headersFolder();
if (headers === undefined) {
  say(`skipped: this Node (${process.execPath}) has no C headers beside it`);
  process.exit(requireAll ? 1 : 0);
}
const folder = stage('check');
const commands = compileCommands(folder);
if (commands === undefined) process.exit(1);

const warnings = ['-Wpedantic', '-Wshadow', '-Wconversion', '-Wsign-conversion', '-Wunused-parameter'];
// Other people's headers are not ours to warn about.
const system = [path.join(root, 'node_modules/node-addon-api'), path.join(headers, 'include/node')];
const extra = ['-Werror', ...warnings, ...system.flatMap((header) => ['-isystem', header])];

/** @param {string} compiler */
const compile = (compiler) =>
  run(compiler, () =>
    commands
      .map(({ command }) => `${compiler} ${command.replace(/^\S+ /, '')} -fsyntax-only ${extra.join(' ')}`)
      .map((line) => spawnSync(line, { cwd: folder, shell: true, stdio: ['ignore', 2, 2] }).status === 0)
      .every(Boolean),
  );

const tidy = () =>
  run('clang-tidy', () => {
    const files = commands.map(({ file }) => file);
    const options = [
      '--quiet',
      `--config-file=${path.join(root, '.clang-tidy')}`,
      '-p',
      `${folder}/build/Release`,
    ];
    const args = [...options, ...system.map((header) => `--extra-arg=-isystem${header}`), ...files];
    const { status, stdout, stderr } = spawnSync('clang-tidy', args, { cwd: folder, encoding: 'utf8' });
    if (status !== 0) process.stderr.write(`${stdout}${stderr}`);
    return status === 0;
  });

const results = [compile('g++'), compile('clang++'), tidy()];
process.exit(results.every(Boolean) ? 0 : 1);
