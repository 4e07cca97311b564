// What a guest does to its table while it runs, through the typed path: 32-bit halves, no bigint. The baseline changes the
// same groups in the same order, in a flat table, with the checks that a kernel makes.
import { addon } from './baseline.mjs';
import { atLeast } from './cases.mjs';
import { EmulatedVm } from './library.mjs';
import { contest } from './measure.mjs';
import { grouped, makeHpte, numbers, shuffled } from './patterns.mjs';

const ORDER = 26;
const GROUP_COUNT = 2 ** (ORDER - 7);
/** So many entries are made before the first of them is removed: it has left the caches by then. */
const PAIRS = 1 << 16;
const H_EXACT_HIGH = 0x80;

/** @param {boolean} tracked whether a reader is open, so that changes are marked */
async function enterAndRemove(tracked) {
  const vm = new EmulatedVm();
  await vm.allocateHpt(ORDER);
  const reader = tracked ? await vm.openHtab() : undefined;
  const calls = vm.hypercalls;
  const next = numbers(11);
  const hpte = new Uint32Array(4);
  const flatEntries = new Uint32Array(2 ** (ORDER - 4) * 4);
  const flat = new addon.FlatTable(flatEntries, new Uint32Array(flatEntries.length));
  const flatBytes = new DataView(flatEntries.buffer);
  for (const ptex of shuffled(grouped(0.125), 2 ** (ORDER - 4))) {
    makeHpte(next, hpte);
    const [vHigh = 0, vLow = 0, rHigh = 0, rLow = 0] = hpte;
    if (calls.enter(H_EXACT_HIGH, ptex, vHigh, vLow, rHigh, rLow) !== ptex) throw new Error('H_ENTER fails');
    for (let word = 0; word < 4; word++) flatBytes.setUint32(ptex * 16 + word * 4, hpte[word] ?? 0);
  }
  const places = new Uint32Array(PAIRS);
  for (let pair = 0; pair < PAIRS; pair++) places[pair] = (next() % GROUP_COUNT) * 8;
  const made = new Uint32Array(PAIRS);
  const pass = () => {
    let count = 0;
    for (let pair = 0; pair < PAIRS; pair++) {
      const place = places[pair] ?? 0;
      const ptex = calls.enter(
        0,
        place,
        0x40000000 | (pair & 0xfffff),
        (pair << 7) | 0x45,
        0,
        (pair << 16) | 0x1190,
      );
      // A full group is one in a million.
      if (ptex >= 0) made[count++] = ptex;
    }
    for (let pair = 0; pair < count; pair++) calls.remove(0, made[pair] ?? 0, 0, 0);
    return count;
  };
  const flatPass = () => flat.enterAndRemove(places, tracked);
  const [ourCount, flatCount] = [pass(), flatPass()];
  if (ourCount !== flatCount) throw new Error(`${ourCount} and ${flatCount} entries were made`);
  const { ours, baseline, ratio } = await contest({ run: pass }, { run: flatPass });
  await reader?.close();
  return { ours: ours / (2 * PAIRS), baseline: baseline / (2 * PAIRS), ratio };
}

/** @type {import('./cases.mjs').Case[]} */
export const hypercalls = [
  { name: 'H_ENTER + H_REMOVE, random groups', ...atLeast(0.5, 0.05), run: () => enterAndRemove(false) },
  {
    name: 'H_ENTER + H_REMOVE while a reader is open',
    ...atLeast(0.5, 0.05),
    run: () => enterAndRemove(true),
  },
];
