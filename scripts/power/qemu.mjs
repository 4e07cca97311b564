// A QEMU that runs inside the machine, from Debian, as a root folder to change into: it needs another libc than Node.
import { copyFile, mkdir, readdir, realpath, symlink } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run, say } from './command.mjs';
import { once } from './fetch.mjs';

/** @typedef {'7.2' | '10.0'} QemuSeries */

/** @type {Readonly<Record<QemuSeries, readonly string[]>>} */
const QEMU_RELEASES = { 7.2: ['bookworm'], '10.0': ['trixie', 'bookworm-backports'] };
const PROGRAM = 'usr/bin/qemu-system-ppc64';
const FIRMWARE = 'usr/share/qemu/slof.bin';
const LIBRARIES = 'lib/powerpc64le-linux-gnu';
const LOADER = 'lib64/ld64.so.2';

/**
 * @param {string} cache
 * @param {QemuSeries} series
 * @returns {Promise<string>} a root folder with qemu-system-ppc64, all it needs to run a guest of machine `pseries`, and a shell
 */
export async function fetchQemu(cache, series) {
  const folder = join(cache, `qemu-${series}`);
  await once(folder, QEMU_RELEASES[series], async (release, result, scratch) => {
    say(`fetching QEMU ${series} and its libraries (ppc64el)`);
    const root = join(scratch, 'root');
    await release.unpackWithDependencies('qemu-system-ppc', root);
    await release.unpack('busybox-static', root);
    for (const file of [PROGRAM, FIRMWARE]) await copy(join(root, file), join(result, file));
    for (const file of await librariesOf(root)) {
      await copy(file, join(result, LIBRARIES, basename(file)));
    }
    await mkdir(join(result, dirname(LOADER)));
    await symlink(`/${LIBRARIES}/ld64.so.2`, join(result, LOADER));
    await copyShell(root, join(result, 'bin'));
  });
  return folder;
}

/**
 * What QEMU loads at its start: its packages bring five times as much.
 *
 * @param {string} root
 * @returns {Promise<Set<string>>}
 */
async function librariesOf(root) {
  const folders = [LIBRARIES, join('usr', LIBRARIES)].map((name) => join(root, name));
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
