// Tables of the largest guests: what they cost must follow what is in them, not their size.
import { atMost } from './cases.mjs';
import { HptTable } from './library.mjs';
import { contest, growth } from './measure.mjs';
import { grouped, makeHpte, numbers, scramble } from './patterns.mjs';
import { readTable, tableOf } from './tables.mjs';

const ORDER = 34;
const ENTRY_BITS = ORDER - 4;

/** @type {{ made: import('./tables.mjs').Table, bytes: number, peakBytes: number } | undefined} */
let built;

/** A table with one entry in a hundred valid, anywhere, filled in random order; made once for both cases. */
function sparse() {
  built ??= growth(() => {
    const table = new HptTable(ORDER);
    const next = numbers(11);
    const hpte = new Uint32Array(4);
    for (let index = 0; index < Math.floor(table.entryCount / 100); index++) {
      makeHpte(next, hpte);
      const [vHigh = 0, vLow = 0, rHigh = 0, rLow = 0] = hpte;
      table.store(scramble(index, ENTRY_BITS), vHigh, vLow, rHigh, rLow);
    }
    return table;
  });
  return built;
}

function sparseMemory() {
  const { made, bytes, peakBytes } = sparse();
  return { ours: bytes, ratio: bytes / made.validCount, peakBytes };
}

async function sparsePass() {
  const large = sparse().made;
  built = undefined;
  const usual = tableOf(26, grouped(0.125));
  const { ours, baseline, ratio } = await contest(
    { run: () => readTable(large, true) },
    { run: () => readTable(usual, true) },
  );
  const entries = large.validCount / usual.validCount;
  return { ours: ours / large.validCount, baseline: baseline / usual.validCount, ratio: 1 / ratio / entries };
}

async function emptyPass() {
  const large = new HptTable(36);
  const usual = new HptTable(24);
  const { ours, baseline, ratio } = await contest(
    { run: () => readTable(large, true) },
    { run: () => readTable(usual, true) },
  );
  return { ours, baseline, ratio: 1 / ratio };
}

/** @type {import('./cases.mjs').Case[]} */
export const large = [
  { name: 'order 34, 1 % random: memory', ...atMost(56, 'bytes a valid entry'), run: sparseMemory },
  {
    name: 'order 34, 1 % random: pass, against order 26 at 12.5 %',
    ...atMost(1.5, 'times the time a valid entry'),
    run: sparsePass,
  },
  { name: 'order 36, empty: pass, against order 24', ...atMost(250, 'times the time', 1300), run: emptyPass },
];
