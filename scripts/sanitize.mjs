// Runs the tests that load the addon with an addon built for AddressSanitizer and UBSan. Arguments go to vitest in the
// place of those tests.
import { spawnSync } from 'node:child_process';
import { hostTarget, missingFor, rebuild, root, stage, targets } from './native/toolchain.mjs';

/** @param {string} line */
const say = (line) => process.stderr.write(`sanitize: ${line}\n`);

const target = hostTarget === undefined ? undefined : targets[hostTarget];
const missing = target === undefined ? 'a target for this machine' : missingFor(target);
if (target === undefined || missing !== undefined) {
  say(`cannot run: ${missing} is missing`);
  process.exit(1);
}

/** Where the compiler keeps a library of its own. @param {string} name */
function library(name) {
  return spawnSync(process.env['CXX'] ?? 'g++', [`-print-file-name=${name}`], {
    encoding: 'utf8',
  }).stdout.trim();
}

const folder = stage('sanitize');
if (!rebuild(folder, target, { GYP_DEFINES: 'sanitize=1' })) process.exit(1);

const args = process.argv.slice(2);
const { status } = spawnSync(
  process.execPath,
  ['node_modules/vitest/vitest.mjs', 'run', ...(args.length > 0 ? args : ['test/native', 'test/vm/kvm'])],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      // The runtime must come before everything else, and the C++ library before the addon asks for it.
      LD_PRELOAD: `${library('libasan.so')}:${library('libstdc++.so')}`,
      // V8 keeps what looks like leaks; ours are counted by the tests themselves.
      ASAN_OPTIONS: 'detect_leaks=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
      KVM_HTAB_PREBUILD: folder,
      KVM_HTAB_REQUIRE_NATIVE: '1',
    },
  },
);
process.exit(status ?? 1);
