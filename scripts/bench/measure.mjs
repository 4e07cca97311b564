// Two deeds, timed in turns: what a ratio of single timings would owe to the machine's mood, a median of many does not.
import { readFileSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { addon } from './baseline.mjs';
import { median } from './figures.mjs';

/** Odd, so that the median is one of them. */
const ROUNDS = 9;
/** A sample lasts at least so long: shorter ones measure the clock. */
const SAMPLE_NS = 2e6;
/** Long enough for V8 to have compiled what it will. */
const WARM_UP_NS = 200e6;

/**
 * @typedef {object} Deed
 * @property {() => unknown} run what is timed; until its promise is fulfilled, if it gives one
 * @property {() => unknown} [prepare] what comes before each run, and is not timed
 *
 * @typedef {() => number} Clock ns since some moment
 *
 * @typedef {object} Contest
 * @property {number} ours median time of one run, ns
 * @property {number} baseline the same of the baseline
 * @property {number} ratio median of each round's baseline time / our time
 * @property {number} difference median of each round's our time - baseline time, ns
 */

/** CPU time of this thread: for deeds that compute. Work of others on the machine does not show. @type {Clock} */
const cpuTime = addon.threadCpuTime;
/** CPU time of all of this process: for deeds that compute on several threads, or in the kernel. @type {Clock} */
export const processTime = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1e3;
};
/** For deeds that wait. @type {Clock} */
export const wallTime = () => performance.now() * 1e6;

/**
 * Mean time of `runs` runs, ns.
 *
 * @param {Deed} deed
 * @param {number} runs
 * @param {Clock} clock
 */
async function sample({ run, prepare }, runs, clock) {
  let spent = 0;
  // Without preparation in one piece: a run can be shorter than the clock's own call.
  const batches = prepare === undefined ? 1 : runs;
  for (let batch = 0; batch < batches; batch++) {
    const prepared = prepare?.();
    if (prepared instanceof Promise) await prepared;
    const start = clock();
    for (let count = 0; count < runs / batches; count++) {
      const done = run();
      // Only what waits is waited for: a turn of the event loop costs more than some runs.
      if (done instanceof Promise) await done;
    }
    spent += clock() - start;
  }
  return spent / runs;
}

/**
 * Warms a deed up.
 *
 * @param {Deed} deed
 * @param {Clock} clock
 * @returns {Promise<number>} how many runs make a sample
 */
async function warmUp(deed, clock) {
  let runs = 1;
  for (let spent = 0; spent < WARM_UP_NS;) {
    const took = (await sample(deed, runs, clock)) * runs;
    spent += took;
    // Not by the time of one run: a clock can stand still for longer than that.
    if (took < SAMPLE_NS) runs *= 2;
  }
  return runs;
}

/**
 * Times two deeds in turns, each round beginning with the other one.
 *
 * @param {Deed} ours
 * @param {Deed} baseline
 * @param {Clock} [clock]
 * @returns {Promise<Contest>}
 */
export async function contest(ours, baseline, clock = cpuTime) {
  const us = { deed: ours, runs: await warmUp(ours, clock), times: [NaN] };
  const them = { deed: baseline, runs: await warmUp(baseline, clock), times: [NaN] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const each of round % 2 === 0 ? [us, them] : [them, us]) {
      each.times[round] = await sample(each.deed, each.runs, clock);
    }
  }
  const pairs = us.times.map((time, round) => ({ time, baseline: them.times[round] ?? NaN }));
  return {
    ours: median(us.times),
    baseline: median(them.times),
    ratio: median(pairs.map(({ time, baseline }) => baseline / time)),
    difference: median(pairs.map(({ time, baseline }) => time - baseline)),
  };
}

/**
 * Median time of a deed that has no rival, ns.
 *
 * @param {Deed} deed
 * @param {Clock} [clock]
 */
export async function time(deed, clock = cpuTime) {
  const runs = await warmUp(deed, clock);
  const times = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await sample(deed, runs, clock));
  return median(times);
}

setFlagsFromString('--expose-gc');
/** @type {unknown} */
const gc = runInNewContext('gc');
/** Collects what the last case has left, so that it is neither timed nor counted with the next. */
export const collectGarbage = /** @type {() => void} */ (gc);

/** @param {'VmRSS' | 'VmHWM'} field */
function residentBytes(field) {
  const [, kibibytes] =
    new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kibibytes) * 1024;
}

/**
 * What the process has grown by with what `make` makes: once nothing else is left, and at most.
 *
 * @template T
 * @param {() => T} make
 */
export function growth(make) {
  collectGarbage();
  // Forgets the peak of what came before (proc(5)).
  writeFileSync('/proc/self/clear_refs', '5');
  const before = residentBytes('VmRSS');
  const made = make();
  const peakBytes = residentBytes('VmHWM') - before;
  collectGarbage();
  return { made, bytes: residentBytes('VmRSS') - before, peakBytes };
}
