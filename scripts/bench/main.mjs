// How fast the library is, beside plain C++ loops that go entry by entry.
import { parseArgs } from 'node:util';
import { passes } from './passes.mjs';
import { records } from './records.mjs';

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {number} target
 * @property {() => import('./measure.mjs').Contest} run
 */
const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, only: { type: 'string' } },
});

const cases = [...records, ...passes].filter(
  ({ name }) => values.only === undefined || name.includes(values.only),
);
for (const { name, target, run } of cases) {
  const { ours, baseline, ratio } = run();
  console.log(
    name.padEnd(34),
    (ours / 1e6).toFixed(3),
    (baseline / 1e6).toFixed(3),
    ratio.toFixed(2),
    target,
    ratio >= target ? 'pass' : 'SHORT',
  );
}
