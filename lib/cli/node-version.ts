/** As `engines` of package.json says. */
const OLDEST = [20, 19] as const;

/**
 * Says why this version of Node.js is too old, if it is.
 *
 * @param version such as `18.20.4`
 */
export function tooOld(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined;
  return `Node.js ${version} is too old: ${OLDEST.join('.')} or later is needed`;
}
