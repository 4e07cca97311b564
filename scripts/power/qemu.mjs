// QEMUs from Debian, each a root folder with all it needs: those that run inside the machine, which need another libc than
// Node, and one that emulates the machine.
import { copyFile, mkdir, readdir, realpath, symlink } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { MissingError, run, say } from './command.mjs';
import { once } from './fetch.mjs';

/** @typedef {'7.2' | '10.0'} QemuSeries */

/** @type {Readonly<Record<QemuSeries, readonly string[]>>} */
const QEMU_RELEASES = { 7.2: ['bookworm'], '10.0': ['trixie', 'bookworm-backports'] };
const PROGRAM = 'usr/bin/qemu-system-ppc64';
const DATA = 'usr/share/qemu';

/** @typedef {{ libraries: string, loader: string, firmware: string }} Platform where a QEMU's root folder has what */
/** @type {Readonly<Record<import('./debian.mjs').Architecture, Platform>>} */
const PLATFORMS = {
  // Firmware of a guest of machine `pseries`.
  ppc64el: { libraries: 'lib/powerpc64le-linux-gnu', loader: 'ld64.so.2', firmware: 'slof.bin' },
  // Firmware of a machine `powernv`.
  amd64: { libraries: 'lib/x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2', firmware: 'skiboot.lid' },
};

/**
 * @param {string} cache
 * @param {QemuSeries} series
 * @returns {Promise<string>} a root folder with qemu-system-ppc64, all it needs to run a guest of machine `pseries`, and a shell
 */
export async function fetchQemu(cache, series) {
  const folder = join(cache, `qemu-${series}`);
  const { libraries, loader } = PLATFORMS.ppc64el;
  await once(folder, QEMU_RELEASES[series], async (release, result, scratch) => {
    say(`fetching QEMU ${series} and its libraries (ppc64el)`);
    const root = join(scratch, 'root');
    await release.unpackWithDependencies('qemu-system-ppc', root);
    await release.unpack('busybox-static', root);
    await copyProgram(root, result, PLATFORMS.ppc64el);
    await mkdir(join(result, 'lib64'));
    await symlink(`/${libraries}/${loader}`, join(result, 'lib64', loader));
    await copyShell(root, join(result, 'bin'));
  });
  return folder;
}

/**
 * @param {string} cache
 * @returns {Promise<string[]>} the command that begins a QEMU 10.0 of this machine: its POWER9 runs hash guests on a radix
 *   host, which that of 7.2 does not
 */
export async function fetchEmulator(cache) {
  if (process.arch !== 'x64')
    throw new MissingError('a QEMU 10.0 to emulate POWER with is fetched for x64 only');
  const folder = join(cache, 'emulator-10.0');
  const { libraries, loader } = PLATFORMS.amd64;
  const fill = async (
    /** @type {import('./debian.mjs').DebianRelease} */ release,
    /** @type {string} */ result,
    /** @type {string} */ scratch,
  ) => {
    say('fetching QEMU 10.0 and its libraries (amd64)');
    const root = join(scratch, 'root');
    await release.unpackWithDependencies('qemu-system-ppc', root);
    await copyProgram(root, result, PLATFORMS.amd64);
  };
  await once(folder, QEMU_RELEASES['10.0'], fill, 'amd64');
  const lib = join(folder, libraries);
  return [join(lib, loader), '--library-path', lib, join(folder, PROGRAM), '-L', join(folder, DATA)];
}

/**
 * @param {string} root where packages were unpacked
 * @param {string} result
 * @param {Platform} platform
 */
async function copyProgram(root, result, { libraries, firmware }) {
  for (const file of [PROGRAM, join(DATA, firmware)]) await copy(join(root, file), join(result, file));
  for (const file of await librariesOf(root, libraries)) {
    await copy(file, join(result, libraries, basename(file)));
  }
}

/**
 * What QEMU loads at its start: its packages bring five times as much.
 *
 * @param {string} root
 * @param {string} libraries
 * @returns {Promise<Set<string>>}
 */
async function librariesOf(root, libraries) {
  const folders = [libraries, join('usr', libraries)].map((name) => join(root, name));
  /** @type {Set<string>} */
  const found = new Set();
  const waiting = [join(root, PROGRAM)];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const dynamic = await run('powerpc64le-linux-gnu-readelf', ['-d', file]);
    for (const [, name = ''] of dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)) {
      const library = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
      if (library === undefined) throw new Error(`${file} needs ${name}, which no package has`);
      if (found.has(library)) continue;
      found.add(library);
      waiting.push(library);
    }
  }
  return found;
}

/**
 * QEMU reads and writes `exec:` migrations by /bin/sh.
 *
 * @param {string} root
 * @param {string} target
 */
async function copyShell(root, target) {
  const files = await readdir(root, { recursive: true });
  const busybox = files.find((file) => file.endsWith('bin/busybox'));
  if (busybox === undefined) throw new Error('busybox-static has no busybox');
  await copy(join(root, busybox), join(target, 'sh'));
  await symlink('sh', join(target, 'cat'));
}

/**
 * @param {string} from perhaps a link
 * @param {string} to
 */
async function copy(from, to) {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(await realpath(from), to);
}
