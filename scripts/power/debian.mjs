// Debian packages for POWER, fetched by apt under a configuration of its own: this machine's package state stays as it is.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { accessSync } from 'node:fs';
import { join } from 'node:path';
import { MissingError, run } from './command.mjs';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * The Debian mirror this machine is set up for, as apt itself understands its configuration.
 *
 * @returns {Promise<string>} what stands before `/dists/` in the mirror's addresses
 */
async function findMirror() {
  const codename = /^VERSION_CODENAME=(.+)$/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1] ?? '';
  const targets = await run('apt-get', ['update', '--print-uris']);
  const mirror = new RegExp(`^'(.+)/dists/${codename}/InRelease'`, 'm').exec(targets)?.[1];
  try {
    accessSync(KEYRING);
  } catch {
    throw new MissingError(`${KEYRING} is missing; install debian-archive-keyring`);
  }
  if (mirror === undefined) throw new MissingError("apt's sources name no mirror of this Debian release");
  return mirror;
}

/** @typedef {'ppc64el' | 'amd64'} Architecture */

/** One Debian release, as a machine of one architecture would see it. */
export class DebianRelease {
  /** @type {string} */ #folder;
  /** @type {readonly string[]} */ #options;

  /**
   * @param {string} folder
   * @param {readonly string[]} options
   */
  constructor(folder, options) {
    this.#folder = folder;
    this.#options = options;
  }

  /**
   * @param {string} suite a release's name: `bookworm`, `trixie`; that of backports takes with it the release they are for
   * @param {string} folder where lists and packages are kept
   * @param {Architecture} architecture
   */
  static async open(suite, folder, architecture) {
    const mirror = await findMirror();
    for (const name of ['lists/partial', 'cache/archives/partial']) {
      await mkdir(join(folder, name), { recursive: true });
    }
    const suites = new Set([suite, suite.replace('-backports', '')]);
    const sources = [...suites].map((name) => `deb [signed-by=${KEYRING}] ${mirror} ${name} main\n`);
    await writeFile(join(folder, 'sources.list'), sources.join(''));
    await writeFile(join(folder, 'status'), '');
    const settings = {
      'Dir::Etc::sourcelist': join(folder, 'sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::State::status': join(folder, 'status'),
      'Dir::Cache': join(folder, 'cache'),
      'APT::Default-Release': suite,
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      'APT::Update::Error-Mode': 'any',
      // The unprivileged user that apt would download as cannot reach into a private folder.
      'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
    };
    const release = new DebianRelease(
      folder,
      Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    );
    try {
      await run('apt-get', [...release.#options, 'update']);
    } catch (cause) {
      throw new MissingError(`Debian ${suite} cannot be had from ${mirror}: ${String(cause)}`, { cause });
    }
    return release;
  }

  /**
   * @param {string} name
   * @returns {Promise<string>} the version that this release has
   */
  async versionOf(name) {
    const policy = await run('apt-cache', [...this.#options, 'policy', name]);
    const found = /Candidate: (?!\(none\))(\S+)/.exec(policy)?.[1];
    if (found === undefined) throw new MissingError(`this release has no ${name}`);
    return found;
  }

  /**
   * @param {string} name
   * @returns {Promise<string[]>} the packages that one depends on, through others too
   */
  async dependenciesOf(name) {
    const depends = await run('apt-cache', [...this.#options, 'depends', '--recurse', '--important', name]);
    return depends.split('\n').filter((line) => /^\w/.test(line));
  }

  /**
   * @param {string} name
   * @param {string} target folder the package is unpacked into
   */
  async unpack(name, target) {
    const folder = join(this.#folder, 'single', name);
    await mkdir(folder, { recursive: true });
    await this.#download(['download', name], folder);
    await unpackAll(folder, target);
  }

  /**
   * @param {string} name
   * @param {string} target folder the package and everything it depends on are unpacked into
   */
  async unpackWithDependencies(name, target) {
    const flags = ['-y', '--no-install-recommends', '--download-only'];
    await this.#download([...flags, 'install', name], this.#folder);
    await unpackAll(join(this.#folder, 'cache/archives'), target);
  }

  /**
   * @param {readonly string[]} args
   * @param {string} cwd
   * @throws MissingError where the mirror does not have what its lists name
   */
  async #download(args, cwd) {
    try {
      await run('apt-get', [...this.#options, ...args], { cwd });
    } catch (cause) {
      throw new MissingError(`the mirror does not give a package: ${String(cause)}`, { cause });
    }
  }
}

/**
 * @param {string} folder
 * @param {string} target
 */
async function unpackAll(folder, target) {
  await mkdir(target, { recursive: true });
  for (const name of await readdir(folder)) {
    if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(folder, name), target]);
  }
}
