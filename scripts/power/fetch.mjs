// What the guest is made of, fetched once and kept: kernels with their kvm modules, busybox, Node.
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { MissingError, say } from './command.mjs';
import { DebianRelease } from './debian.mjs';
import { newestFirst } from './newest.mjs';

/** @typedef {'6.1' | '6.12' | 'newest'} KernelSeries */

/** The meta package of the stock kernel. */
const KERNEL = 'linux-image-powerpc64le';
/** What of all that it depends on has kernel and modules: newer ones have a package for each. */
const KERNEL_PACKAGE = /^linux-(image|binary|modules)-\d/;

// Of each list the first release that the mirror can give: for days after a point release mirrors name packages of this
// architecture that they do not have yet.
/** @type {Readonly<Record<Exclude<KernelSeries, 'newest'>, readonly string[]>>} */
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
  const releases = series === 'newest' ? await newestReleases(folder) : KERNEL_RELEASES[series];
  await once(folder, releases, async (release, result, scratch) => {
    const version = await release.versionOf(KERNEL);
    say(`fetching ${KERNEL} ${version} (ppc64el)`);
    const root = join(scratch, 'root');
    const packages = await release.dependenciesOf(KERNEL);
    for (const name of packages.filter((each) => KERNEL_PACKAGE.test(each))) await release.unpack(name, root);
    const files = await readdir(root, { recursive: true });
    for (const file of files) {
      if (/^boot\/vmlinu[xz]-|modules\/[^/]+\/vmlinuz$/.test(file))
        await copyFile(join(root, file), join(result, 'vmlinux'));
      if (/arch\/powerpc\/kvm\/kvm(-hv)?\.ko(\.xz)?$/.test(file)) {
        await copyFile(join(root, file), join(result, basename(file)));
      }
    }
    await writeFile(join(result, 'version'), version);
    const fetched = await readdir(result);
    if (fetched.length !== 4)
      throw new Error(`${KERNEL} ${version} has not the files looked for, only ${fetched.join(' ')}`);
  });
  return folder;
}

/**
 * Removes a kept kernel that is not the newest any more. Where the mirror cannot be asked it stays.
 *
 * @param {string} folder where it is kept
 * @returns {Promise<string[]>} releases with a kernel, that with the newest one first
 */
async function newestReleases(folder) {
  const found = await newestFirst(KERNEL, `${folder}.lists`);
  const kept = existsSync(folder) ? await readFile(join(folder, 'version'), 'utf8') : undefined;
  const newest = found[0]?.version;
  if (newest === undefined && kept === undefined)
    throw new MissingError(`Debian's mirror gives no ${KERNEL} (ppc64el)`);
  say(`the newest released kernel is ${newest ?? 'not known'}, kept is ${kept ?? 'none'}`);
  if (newest !== undefined && newest !== kept) await rm(folder, { recursive: true, force: true });
  return found.map(({ suite }) => suite);
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
