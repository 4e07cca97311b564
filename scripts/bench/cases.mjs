// What a case is, and when it passes.

/**
 * @typedef {object} Goal
 * @property {number} target
 * @property {number} floor what `--check` lets pass: loose, so that noise does not fail and a regression of 2x does
 * @property {boolean} more whether a larger ratio is better
 * @property {string} unit of ratio, target and floor
 *
 * @typedef {object} Measured
 * @property {number} ours ns, unless the unit is of something else
 * @property {number} [baseline] the same of the baseline
 * @property {number} ratio
 * @property {number} [peakBytes] most that the process grew by, where that is the point
 *
 * @typedef {object} OwnCase
 * @property {string} name
 * @property {boolean} [waits] what is measured depends on what else the machine does: not for `--check`
 * @property {() => Measured | Promise<Measured>} run
 *
 * @typedef {OwnCase & Goal} Case
 */

/**
 * A ratio of speeds, baseline time / our time.
 *
 * @param {number} target
 * @param {number} [floor] half of the target; where what is measured comes near to that, half of what is measured
 * @returns {Goal}
 */
export function atLeast(target, floor = target / 2) {
  return { target, floor, more: true, unit: 'times as fast' };
}

/**
 * Something that costs.
 *
 * @param {number} target
 * @param {string} unit
 * @param {number} [floor] twice the target; where what is measured comes near to that, twice what is measured
 * @returns {Goal}
 */
export function atMost(target, unit, floor = target * 2) {
  return { target, floor, more: false, unit: `${unit} at most` };
}

/**
 * @param {number} ratio
 * @param {number} bound
 * @param {Goal} goal
 */
export function reaches(ratio, bound, { more }) {
  return more ? ratio >= bound : ratio <= bound;
}
