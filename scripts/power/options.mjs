import { parseArgs } from 'node:util';

export const HELP = `Runs the tests of test/power on a real kernel with KVM-HV, in an emulated POWER machine.

Usage: npm run test:power -- [options]

  --machine powernv8|powernv9  CPU of the machine (powernv9)
  --hash-host                  the host kernel itself uses a hash table instead of a radix tree
  --kernel 6.1|6.12            stock Debian kernel (6.1: 64 KiB pages, 6.12: 4 KiB pages)
                               With none of these three: POWER9 radix, POWER9 hash and POWER8 on 6.1, POWER9 on 6.12.
  --filter PATTERN             only tests whose name matches this regular expression
  --seed N                     first seed of the random programs (default: from the clock, printed)
  --operations N               operations of the random programs (20000)
  --kills N                    migrations whose receiver is killed (3)
  --keep                       leave the files of the boots in .cache/power/run
  --shell                      boot to a prompt instead of the tests
  --refresh                    fetch kernel and Node anew

Exit status: that of the tests inside; 2 for a wrong option; 3 if the machine died or hung; 77 if something is missing here.
`;

/**
 * @typedef {{ machine: 'powernv8' | 'powernv9', hashHost: boolean, kernel: import('./fetch.mjs').KernelSeries }} Configuration
 * @typedef {{ filter: string, seed: number, operations: number, kills: number }} TestOptions what the tests inside are told
 * @typedef {{
 *   configurations: Configuration[], tests: TestOptions, keep: boolean, shell: boolean, refresh: boolean, help: boolean
 * }} Options
 */

/** @type {readonly Configuration[]} */
const EVERY = [
  { machine: 'powernv9', hashHost: false, kernel: '6.1' },
  { machine: 'powernv9', hashHost: true, kernel: '6.1' },
  { machine: 'powernv8', hashHost: false, kernel: '6.1' },
  { machine: 'powernv9', hashHost: false, kernel: '6.12' },
];

/**
 * @template {string} T
 * @param {string} name
 * @param {string} value
 * @param {readonly T[]} allowed
 * @returns {T}
 */
function oneOf(name, value, allowed) {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new TypeError(`--${name} takes ${allowed.join(' or ')}, not ${value}`);
  return found;
}

/**
 * @param {string} name
 * @param {string} value
 */
function count(name, value) {
  if (!/^\d{1,9}$/.test(value)) throw new TypeError(`--${name} takes a whole number, not ${value}`);
  return Number(value);
}

/**
 * @param {string[]} args
 * @returns {Options}
 * @throws TypeError for what is not an option
 */
export function parseOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      machine: { type: 'string' },
      'hash-host': { type: 'boolean' },
      kernel: { type: 'string' },
      filter: { type: 'string', default: '' },
      seed: { type: 'string', default: String(Date.now() % 1e9) },
      operations: { type: 'string', default: '20000' },
      kills: { type: 'string', default: '3' },
      keep: { type: 'boolean', default: false },
      shell: { type: 'boolean', default: false },
      refresh: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { machine, kernel, keep, shell, refresh, help } = values;
  const hashHost = values['hash-host'];
  /** @type {Configuration} */
  const chosen = {
    machine: oneOf('machine', machine ?? 'powernv9', ['powernv8', 'powernv9']),
    hashHost: hashHost ?? false,
    kernel: oneOf('kernel', kernel ?? '6.1', ['6.1', '6.12']),
  };
  const isChosen = shell || machine !== undefined || hashHost !== undefined || kernel !== undefined;
  return {
    configurations: isChosen ? [chosen] : [...EVERY],
    tests: {
      filter: new RegExp(values.filter).source === '(?:)' ? '' : values.filter,
      seed: count('seed', values.seed),
      operations: count('operations', values.operations),
      kills: count('kills', values.kills),
    },
    keep,
    shell,
    refresh,
    help,
  };
}

/** @param {Configuration} configuration */
export function nameOf({ machine, hashHost, kernel }) {
  const mmu = machine === 'powernv8' || hashHost ? 'hash' : 'radix';
  return `POWER${machine.slice(-1)} ${mmu} host, Linux ${kernel}`;
}
