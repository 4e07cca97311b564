import { parseArgs } from 'node:util';

export const HELP = `Measures the library against plain C++ programs, in turns; prints medians.

Usage: npm run bench -- [options]

  --only NAME  only cases whose name contains NAME
  --json       an array of {name, ratio, target, unit} to stdout, and the table to stderr
               (npm itself says nothing to stdout with: npm run --silent bench -- --json)
  --check      without the cases that wait; fails if one is below its floor, which is half its target or half of what
               was last measured, whichever is easier
  --help       this text

Exit status: 0; 1 if a case is below its floor (--check) or cannot be run; 2 for a wrong option.
`;

/**
 * @typedef {object} Options
 * @property {string} only
 * @property {boolean} json
 * @property {boolean} check
 * @property {boolean} help
 */

/**
 * @param {readonly string[]} args
 * @returns {Options}
 * @throws TypeError for a wrong option
 */
export function parseOptions(args) {
  const flag = /** @type {const} */ ({ type: 'boolean', default: false });
  const only = /** @type {const} */ ({ type: 'string', default: '' });
  return parseArgs({ args: [...args], options: { only, json: flag, check: flag, help: flag } }).values;
}
