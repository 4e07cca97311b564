// What the guest is made of, fetched once and kept: kernels with their kvm modules, busybox, Node.
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { MissingError, say } from './command.mjs';
import { DebianRelease } from './debian.mjs';

/** @typedef {'6.1' | '6.12'} KernelSeries */

// Of each list the first release that the mirror can give: for days after a point release mirrors name packages of this
// architecture that they do not have yet.
/** @type {Readonly<Record<KernelSeries, readonly string[]>>} */
const KERNEL_RELEASES = { 6.1: ['bookworm'], 6.12: ['trixie', 'bookworm-backports'] };
/** Trixie's Node is 20.19, the oldest that this package takes; bookworm's is older. */
const NODE_RELEASES = ['trixie', 'forky'];

/**
 * Fills a folder of the cache, all or nothing: what stops half way leaves no folder behind.
 *
 * @param {string} folder
 * @param {readonly string[]} suites releases that can fill it, the best first
 * @param {(release: DebianRelease, folder: string, scratch: string) => Promise<void>} fill
 * @param {import('./debian.mjs').Architecture} [architecture]
 */
export async function once(folder, suites, fill, architecture = 'ppc64el') {
  if (existsSync(folder)) return;
  const scratch = `${folder}.scratch`;
  const reasons = [];
  for (const suite of suites) {
    await rm(scratch, { recursive: true, force: true });
    await mkdir(join(scratch, 'result'), { recursive: true });
    try {
      const release = await DebianRelease.open(suite, scratch, architecture);
      await fill(release, join(scratch, 'result'), scratch);
      await rename(join(scratch, 'result'), folder);
      await rm(scratch, { recursive: true });
      return;
    } catch (error) {
      if (!(error instanceof MissingError)) throw error;
      say(`${suite} cannot be had`);
      reasons.push(error.message);
    }
  }
  throw new MissingError(reasons.join('\n'));
}

/**
 * @param {string} cache
 * @param {KernelSeries} series
 * @returns {Promise<string>} folder with `vmlinux` and the modules `kvm.ko` and `kvm-hv.ko` (perhaps `.xz`)
 */
export async function fetchKernel(cache, series) {
  const folder = join(cache, `kernel-${series}`);
  await once(folder, KERNEL_RELEASES[series], async (release, result, scratch) => {
    const name = await release.resolve('linux-image-powerpc64le');
    say(`fetching ${name} (ppc64el)`);
    const root = join(scratch, 'root');
    await release.unpack(name, root);
    const files = await readdir(root, { recursive: true });
    for (const file of files) {
      if (/^boot\/vmlinu[xz]-/.test(file)) await copyFile(join(root, file), join(result, 'vmlinux'));
      if (/arch\/powerpc\/kvm\/kvm(-hv)?\.ko(\.xz)?$/.test(file)) {
        await copyFile(join(root, file), join(result, basename(file)));
      }
    }
    await writeFile(join(result, 'package'), `${name}\n`);
    const fetched = await readdir(result);
    if (fetched.length !== 4)
      throw new Error(`${name} has not the files looked for, only ${fetched.join(' ')}`);
  });
  return folder;
}

/**
 * @param {string} cache
 * @returns {Promise<string>} a root folder with busybox and Node in it
 */
export async function fetchRoot(cache) {
  const folder = join(cache, 'root');
  await once(folder, NODE_RELEASES, async (release, result) => {
    say('fetching nodejs and busybox-static (ppc64el)');
    await release.unpackWithDependencies('nodejs', result);
    await release.unpack('busybox-static', result);
    // Debian's merged /usr: the loader's path is /lib64/ld64.so.2.
    for (const name of ['bin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(result, name));
    const libraries = join(result, 'usr/lib/powerpc64le-linux-gnu');
    const unwanted = ['gconv', 'ossl-modules', 'engines-3'].map((name) => join(libraries, name));
    const share = await readdir(join(result, 'usr/share'));
    unwanted.push(
      ...share.filter((name) => name !== 'nodejs').map((name) => join(result, 'usr/share', name)),
    );
    unwanted.push(...['@types', 'corepack'].map((name) => join(result, 'usr/share/nodejs', name)));
    for (const path of unwanted) await rm(path, { recursive: true, force: true });
  });
  return folder;
}
