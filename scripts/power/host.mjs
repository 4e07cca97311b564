// What the rig needs on the machine it runs on.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { MissingError, run, say } from './command.mjs';

/** Program the rig calls -> Debian package it comes with. */
const PROGRAMS = {
  'qemu-system-ppc64': 'qemu-system-ppc',
  'powerpc64le-linux-gnu-gcc': 'gcc-powerpc64le-linux-gnu',
  openssl: 'openssl',
  'powerpc64le-linux-gnu-g++': 'g++-powerpc64le-linux-gnu',
};

/**
 * @param {string} program
 * @returns {boolean} whether it is on the PATH
 */
function isInstalled(program) {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Installs the missing programs where that is possible (root, and apt-get is there), or says what is missing. */
export async function prepareHost() {
  if (!isInstalled('apt-get') || !isInstalled('dpkg-deb')) {
    throw new MissingError(
      'apt-get and dpkg-deb are needed: kernel and Node for the rig are Debian packages',
    );
  }
  const missing = Object.entries(PROGRAMS).filter(([program]) => !isInstalled(program));
  if (missing.length === 0) return;
  const packages = missing.map(([, name]) => name);
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages];
  if (process.getuid?.() !== 0) {
    const programs = missing.map(([program]) => program).join(', ');
    throw new MissingError(`${programs} missing; as root: ${command.join(' ')}`);
  }
  say(`installing ${packages.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update'], { env });
  await run('apt-get', command.slice(1), { env });
}
