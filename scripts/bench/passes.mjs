// Reading a table: the first pass, and later ones that find what has changed.
import { atLeast } from './cases.mjs';
import { contest } from './measure.mjs';
import { clustered, full, grouped, scattered } from './patterns.mjs';
import { Twin } from './tables.mjs';

const ORDER = 26;

/**
 * @param {import('./patterns.mjs').Pattern} pattern
 */
function firstPass(pattern) {
  const twin = new Twin(ORDER, pattern);
  twin.readBoth(true);
  return contest({ run: () => twin.readOurs(true) }, { run: () => twin.readFlat(true) });
}

/** @param {number} share of all entries that have changed since the pass before */
function laterPass(share) {
  const twin = new Twin(ORDER, grouped(0.125));
  const changed = Uint32Array.from(scattered(share)(twin.entryCount));
  twin.markOurs(changed);
  twin.markFlat(changed);
  twin.readBoth(false);
  if (share === 0) return contest({ run: () => twin.readOurs(false) }, { run: () => twin.readFlat(false) });
  return contest(
    { prepare: () => twin.markOurs(changed), run: () => twin.readOurs(false) },
    { prepare: () => twin.markFlat(changed), run: () => twin.readFlat(false) },
  );
}

/** @type {import('./cases.mjs').Case[]} */
export const passes = [
  { name: 'first pass, empty', ...atLeast(100), run: () => firstPass(scattered(0)) },
  { name: 'first pass, 1 % clustered', ...atLeast(8), run: () => firstPass(clustered(0.01)) },
  { name: 'first pass, 1 % random', ...atLeast(5), run: () => firstPass(scattered(0.01)) },
  { name: 'first pass, 12.5 %', ...atLeast(1.5), run: () => firstPass(grouped(0.125)) },
  { name: 'first pass, 50 %', ...atLeast(1.1), run: () => firstPass(scattered(0.5)) },
  { name: 'first pass, full', ...atLeast(1), run: () => firstPass(full) },
  { name: 'later pass, clean', ...atLeast(150), run: () => laterPass(0) },
  { name: 'later pass, 0.1 % changed', ...atLeast(15), run: () => laterPass(0.001) },
  { name: 'later pass, 1 % changed', ...atLeast(4.5), run: () => laterPass(0.01) },
  { name: 'later pass, 10 % changed', ...atLeast(1.1), run: () => laterPass(0.1) },
  { name: 'later pass, 100 % changed', ...atLeast(1), run: () => laterPass(1) },
];
