// Which Debian release has the newest version of a package.
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MissingError, say } from './command.mjs';
import { DebianRelease } from './debian.mjs';

/** The releases that can be ahead of all others, by their roles, which stay where names move on. */
const SUITES = ['experimental', 'unstable', 'testing', 'stable-backports', 'stable'];
/** A candidate for a release is none. */
const CANDIDATE = /~rc/;

/**
 * By Debian's rules, in which `1~bpo` comes before `1`.
 *
 * @param {string} a
 * @param {string} b
 * @returns {number} above 0 if `a` is the newer one, below if `b` is
 */
export function compareVersions(a, b) {
  const holds = (/** @type {string} */ relation) =>
    spawnSync('dpkg', ['--compare-versions', a, relation, b]).status === 0;
  return Number(holds('gt')) - Number(holds('lt'));
}

/**
 * @param {string} name of a package
 * @param {string} scratch folder for package lists; it is removed
 * @returns {Promise<{ suite: string, version: string }[]>} releases that have the package, the newest version first; none
 *   where the mirror gives no list
 */
export async function newestFirst(name, scratch) {
  const asked = SUITES.map(async (suite) => {
    try {
      const release = await DebianRelease.open(suite, join(scratch, suite), 'ppc64el');
      const version = await release.versionOf(name);
      return CANDIDATE.test(version) ? [] : [{ suite, version }];
    } catch (error) {
      if (!(error instanceof MissingError)) throw error;
      say(`${suite} cannot be had`);
      return [];
    }
  });
  const found = (await Promise.all(asked)).flat();
  await rm(scratch, { recursive: true, force: true });
  return found.sort((a, b) => compareVersions(b.version, a.version));
}
