// The table: one line per case.
import { reaches } from './cases.mjs';
import { mebibytes } from './figures.mjs';

/** @typedef {import('./cases.mjs').Case} Case */

/** Widths; negative: from the left. */
const COLUMNS = [-56, 10, 10, 9, 8, -6, -1];

/** @param {readonly string[]} cells */
function line(cells) {
  return cells
    .map((cell, column) => {
      const width = COLUMNS[column] ?? 0;
      return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
    })
    .join(' ')
    .trimEnd();
}

/** @param {number} ns */
function duration(ns) {
  if (ns < 1e3) return `${ns.toFixed(1)} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} µs`;
  return `${(ns / 1e6).toFixed(1)} ms`;
}

/** @param {number} number three digits of it, or all before the point */
const short = (number) => (number >= 100 ? number.toFixed(0) : number.toPrecision(3));

/** @param {Case} each @param {number} amount */
function show({ unit }, amount) {
  if (unit.startsWith('bytes')) return mebibytes(amount);
  return unit.startsWith('buffers') ? short(amount) : duration(amount);
}

export function heading() {
  return line(['case', 'ours', 'baseline', 'ratio', 'target', '', 'unit']);
}

/**
 * @param {Case} each
 * @param {import('./cases.mjs').Measured} measured
 */
export function row(each, { ours, baseline, ratio, peakBytes }) {
  const verdict = reaches(ratio, each.target, each) ? 'pass' : 'SHORT';
  const peak = peakBytes === undefined ? '' : `, peak ${mebibytes(peakBytes)}`;
  return line([
    each.name,
    show(each, ours),
    baseline === undefined ? '-' : show(each, baseline),
    short(ratio),
    `${each.more ? '' : '<= '}${each.target}`,
    verdict,
    `${each.unit}${peak}`,
  ]);
}
