// The gate before anything is published: both prebuilt addons are there, for the right machine, and ask for nothing
// that an old Linux (glibc 2.28, libstdc++ of GCC 8) does not have. Needs binutils' readelf.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { versionFaults } from './native/symbol-versions.mjs';
import { root } from './native/toolchain.mjs';

const expected = {
  'linux-x64': { machine: 'Advanced Micro Devices X86-64' },
  'linux-ppc64': { machine: 'PowerPC64' },
};
const libraries = new Set(['libc.so.6', 'libstdc++.so.6', 'libgcc_s.so.1', 'libm.so.6']);

/** @param {string} file @param {string} machine @returns {string[]} what is wrong with it */
function faultsOf(file, machine) {
  if (!existsSync(file)) return ['it is not there'];
  const { status, stdout, stderr } = spawnSync('readelf', ['-hdVW', '--dyn-syms', file], {
    encoding: 'utf8',
  });
  if (status !== 0) return [`readelf failed: ${stderr}`];
  const faults = [];

  /** @param {string} name */
  const header = (name) => new RegExp(`^\\s+${name}:\\s+(.*)$`, 'm').exec(stdout)?.[1];
  if (header('Machine') !== machine) faults.push(`it is for ${header('Machine')}`);
  if (header('Data') !== "2's complement, little endian") faults.push(`its byte order is ${header('Data')}`);

  for (const [, library = ''] of stdout.matchAll(/\(NEEDED\)\s+Shared library: \[(.*)\]/g)) {
    if (!libraries.has(library) && !library.startsWith('ld')) faults.push(`it needs ${library}`);
  }
  faults.push(...versionFaults(stdout));
  for (const [, symbol = ''] of stdout.matchAll(/ GLOBAL \S+\s+UND ([^@\s]+)$/gm)) {
    // Whatever Node has beside Node-API changes from release to release.
    if (!symbol.startsWith('napi_')) faults.push(`it needs ${symbol}, which is not of Node-API`);
  }
  if (!/\(FLAGS(_1)?\).*NOW/.test(stdout)) faults.push('it is not linked with -z now');
  return faults;
}

let failed = false;
for (const [folder, { machine }] of Object.entries(expected)) {
  const file = path.join('prebuilds', folder, 'node.napi.glibc.node');
  const faults = faultsOf(path.join(root, file), machine);
  failed ||= faults.length > 0;
  process.stderr.write(`check-prebuild: ${file}: ${faults.length === 0 ? 'fine' : faults.join('; ')}\n`);
}
process.exit(failed ? 1 : 0);
