// Two deeds, timed in turns: what a ratio of single timings would owe to the machine's mood, a median of many does not.
import { addon } from './baseline.mjs';

/** Odd, so that the median is one of them. */
export const ROUNDS = 9;
/** A sample lasts at least so long: shorter ones measure the clock. */
const SAMPLE_NS = 2e6;
/** Long enough for V8 to have compiled what it will. */
const WARM_UP_NS = 150e6;

/**
 * @typedef {object} Deed
 * @property {() => unknown} run what is timed
 * @property {() => unknown} [prepare] what comes before each run, and is not timed
 *
 * @typedef {() => number} Clock ns since some moment
 *
 * @typedef {object} Contest
 * @property {number} ours median time of one run, ns
 * @property {number} baseline the same of the baseline
 * @property {number} ratio median of each round's baseline time / our time
 */

/** CPU time of this thread: for deeds that compute. Work of others on the machine does not show. @type {Clock} */
export const cpuTime = addon.threadCpuTime;
/** For deeds that wait. @type {Clock} */
export const wallTime = () => performance.now() * 1e6;

/**
 * Mean time of `runs` runs, ns.
 *
 * @param {Deed} deed
 * @param {number} runs
 * @param {Clock} clock
 */
function sample({ run, prepare }, runs, clock) {
  if (prepare === undefined) {
    const start = clock();
    for (let count = 0; count < runs; count++) run();
    return (clock() - start) / runs;
  }
  let spent = 0;
  for (let count = 0; count < runs; count++) {
    prepare();
    const start = clock();
    run();
    spent += clock() - start;
  }
  return spent / runs;
}

/**
 * Warms a deed up.
 *
 * @param {Deed} deed
 * @param {Clock} clock
 * @returns {number} how many runs make a sample
 */
function warmUp(deed, clock) {
  let time = Infinity;
  const start = clock();
  for (let count = 0; count < 5 || clock() - start < WARM_UP_NS; count++) {
    time = Math.min(time, sample(deed, 1, clock));
  }
  return Math.ceil(SAMPLE_NS / time);
}

/** @param {number[]} values */
export const median = (values) => values.sort((a, b) => a - b)[values.length >>> 1] ?? NaN;

/**
 * Times two deeds in turns, each round beginning with the other one.
 *
 * @param {Deed} ours
 * @param {Deed} baseline
 * @param {Clock} [clock]
 * @returns {Contest}
 */
export function contest(ours, baseline, clock = cpuTime) {
  const deeds = [ours, baseline].map((deed) => ({ deed, runs: warmUp(deed, clock), times: [] }));
  /** @type {number[][]} */
  const times = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    for (const turn of [round % 2, 1 - (round % 2)]) {
      const { deed, runs } = /** @type {{ deed: Deed, runs: number }} */ (deeds[turn]);
      times[turn]?.push(sample(deed, runs, clock));
    }
  }
  const [ourTimes = [], baselineTimes = []] = times;
  const ratios = ourTimes.map((time, round) => (baselineTimes[round] ?? NaN) / time);
  return { ours: median(ourTimes), baseline: median(baselineTimes), ratio: median(ratios) };
}

/**
 * Median time of a deed that has no rival, ns.
 *
 * @param {Deed} deed
 * @param {Clock} [clock]
 */
export function time(deed, clock = cpuTime) {
  const runs = warmUp(deed, clock);
  return median(Array.from({ length: ROUNDS }, () => sample(deed, runs, clock)));
}
