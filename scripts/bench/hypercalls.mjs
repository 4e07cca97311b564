// What a guest does to its table while it runs, through the typed path: 32-bit halves, no bigint.
import { atMost } from './cases.mjs';
import { EmulatedVm } from './library.mjs';
import { time } from './measure.mjs';
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
  for (const ptex of shuffled(grouped(0.125), 2 ** (ORDER - 4))) {
    makeHpte(next, hpte);
    const [vHigh = 0, vLow = 0, rHigh = 0, rLow = 0] = hpte;
    if (calls.enter(H_EXACT_HIGH, ptex, vHigh, vLow, rHigh, rLow) !== ptex) throw new Error('H_ENTER fails');
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
  };
  const ours = (await time({ run: pass })) / (2 * PAIRS);
  await reader?.close();
  return { ours, ratio: ours };
}

/** @type {import('./cases.mjs').Case[]} */
export const hypercalls = [
  {
    name: 'H_ENTER + H_REMOVE, random groups',
    ...atMost(150, 'ns a call', 450),
    run: () => enterAndRemove(false),
  },
  {
    name: 'H_ENTER + H_REMOVE while a reader is open',
    ...atMost(150, 'ns a call', 600),
    run: () => enterAndRemove(true),
  },
];
