// npm run bench: how fast the library is, beside plain C++ loops that go entry by entry (--help tells more).
import { reaches } from './cases.mjs';
import { HELP, parseOptions } from './options.mjs';
import { heading, row } from './report.mjs';

const EXIT = /** @type {const} */ ({ done: 0, below: 1, usage: 2 });

/** @typedef {import('./cases.mjs').Case} Case */

/** @param {string} line */
const say = (line) => process.stderr.write(`bench: ${line}\n`);

/**
 * @param {readonly Case[]} cases
 * @param {boolean} json
 * @returns {Promise<Case[]>} those below their floor
 */
async function measure(cases, json) {
  const { collectGarbage } = await import('./measure.mjs');
  const table = json ? process.stderr : process.stdout;
  table.write(`${heading()}\n`);
  const results = [];
  const below = [];
  for (const each of cases) {
    collectGarbage();
    const measured = await each.run();
    table.write(`${row(each, measured)}\n`);
    results.push({ name: each.name, ratio: measured.ratio, target: each.target, unit: each.unit });
    if (!reaches(measured.ratio, each.floor, each)) below.push(each);
  }
  if (json) process.stdout.write(`${JSON.stringify(results, undefined, 2)}\n`);
  return below;
}

/**
 * @param {import('./options.mjs').Options} options
 * @returns {Promise<number>} exit status
 */
async function main({ help, only, json, check }) {
  if (help) {
    process.stdout.write(HELP);
    return EXIT.done;
  }
  // Not before: the baselines have to be compiled for it.
  const { suite } = await import('./suite.mjs');
  const possible = suite.filter(({ waits = false }) => !(check && waits));
  const cases = possible.filter(({ name }) => name.includes(only));
  if (cases.length === 0) {
    say(`no case has ${JSON.stringify(only)} in its name:`);
    for (const { name } of possible) say(`  ${name}`);
    return EXIT.usage;
  }
  const below = await measure(cases, json);
  if (!check || below.length === 0) return EXIT.done;
  for (const { name, floor } of below) say(`below its floor of ${floor}: ${name}`);
  return EXIT.below;
}

/** @returns {import('./options.mjs').Options | undefined} */
function givenOptions() {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

const options = givenOptions();
process.exitCode = options === undefined ? EXIT.usage : await main(options);
