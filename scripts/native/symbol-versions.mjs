/** Newest version of each library's symbols that may be asked for: those of glibc 2.28 and GCC 8. */
const floors = new Map([
  ['GLIBC', '2.28'],
  ['GLIBCXX', '3.4.25'],
  ['CXXABI', '1.3.11'],
  ['GCC', '4.3'],
]);

/** @param {string} a @param {string} b */
function isNewer(a, b) {
  return a.localeCompare(b, 'en', { numeric: true }) > 0;
}

/**
 * The versions of other libraries' symbols that an addon must not need. A name that cannot be told old from new, such
 * as GLIBC_PRIVATE or GLIBC_ABI_DT_RELR, is one of them.
 *
 * @param {string} readelf what `readelf -VW` says of the addon
 * @returns {string[]} what is wrong
 */
export function versionFaults(readelf) {
  const faults = [];
  for (const [, name = ''] of readelf.matchAll(/\bName: (\S+)\s+Flags:/g)) {
    const [, family = '', version = ''] = /^(.+)_(\d+(?:\.\d+)*)$/.exec(name) ?? [];
    const floor = floors.get(family);
    if (floor === undefined) faults.push(`it needs ${name}, which is no version known here`);
    else if (isNewer(version, floor)) faults.push(`it needs ${name}, newer than ${floor}`);
  }
  return faults;
}
