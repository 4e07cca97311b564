import { parseArgs } from 'node:util';

export const HELP = `Runs the tests of test/power on a real kernel with KVM-HV, in an emulated POWER machine.

Usage: npm run test:power -- [options]

  --machine powernv8|powernv9  CPU of the machine (powernv9)
  --hash-host                  the host kernel itself uses a hash table instead of a radix tree
  --kernel 6.1|6.12|newest     stock Debian kernel (6.1: 64 KiB pages, the others: 4 KiB pages); newest: the newest that is
                               released, in any of Debian's suites
                               With none of these three: POWER9 radix, POWER9 hash and POWER8 on 6.1, POWER9 on 6.12.
  --qemu                       instead the tests with Debian's QEMU and a Linux guest inside: on a POWER9 hash host unless
                               --machine is powernv8; on 6.1 only
  --qemu-version 7.2|10.0      that QEMU (7.2)
  --radix-host                 with --qemu: on a POWER9 radix host, which QEMU 10.0, fetched too, emulates
  --filter PATTERN             only tests whose name matches this regular expression
  --seed N                     first seed of the random programs (default: from the clock, printed)
  --operations N               operations of the random programs (20000)
  --moves N                    moves of a guest of two vcpus, its table alone and whole (1)
  --kills N                    migrations in which a receiver or an agent is killed, each (1)
  --soak-minutes N             instead of the tests, moves of a guest for so long (npm run soak tells more)
  --soak-moves N               end that after so many moves
  --may-crash                  run the reproducers that stop the kernel, too
  --measure                    measure how each kernel stands to kernel-abi.md, for test/power/measured and a table of that page;
                               with none of the first three options on every machine with every kernel
  --keep                       leave the files of the boots in .cache/power/run
  --shell                      boot to a prompt instead of the tests
  --refresh                    fetch kernel and Node anew

Exit status: that of the tests inside; 2 for a wrong option; 3 if the machine died or hung; 77 if something is missing here.
`;

/**
 * @typedef {{
 *   machine: 'powernv8' | 'powernv9', hashHost: boolean, kernel: import('./fetch.mjs').KernelSeries,
 *   qemu?: import('./qemu.mjs').QemuSeries, newEmulator?: boolean
 * }} Configuration
 * @typedef {{
 *   filter: string, seed: number, operations: number, moves: number, kills: number, mayCrash: boolean,
 *   qemu?: import('./qemu.mjs').QemuSeries, soak?: { minutes: number, moves: number }
 * }} TestOptions what the tests inside are told
 * @typedef {{
 *   configurations: Configuration[], tests: TestOptions, measure: boolean, keep: boolean, shell: boolean, refresh: boolean,
 *   help: boolean
 * }} Options
 */

const OPTIONS = /** @type {const} */ ({
  machine: { type: 'string' },
  'hash-host': { type: 'boolean' },
  kernel: { type: 'string' },
  qemu: { type: 'boolean', default: false },
  'qemu-version': { type: 'string' },
  'radix-host': { type: 'boolean', default: false },
  filter: { type: 'string', default: '' },
  seed: { type: 'string', default: String(Date.now() % 1e9) },
  operations: { type: 'string', default: '20000' },
  moves: { type: 'string', default: '1' },
  kills: { type: 'string', default: '1' },
  'soak-minutes': { type: 'string' },
  'soak-moves': { type: 'string' },
  'may-crash': { type: 'boolean', default: false },
  measure: { type: 'boolean', default: false },
  keep: { type: 'boolean', default: false },
  shell: { type: 'boolean', default: false },
  refresh: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
});

/** More moves than a soak makes. */
const ENDLESS = 999_999_999;

const KERNELS = /** @type {const} */ (['6.1', '6.12', 'newest']);

/** @param {import('./fetch.mjs').KernelSeries} kernel @returns {Configuration[]} */
const machinesWith = (kernel) => [
  { machine: 'powernv9', hashHost: false, kernel },
  { machine: 'powernv9', hashHost: true, kernel },
  { machine: 'powernv8', hashHost: false, kernel },
];
/** @type {readonly Configuration[]} */
const USUAL = [...machinesWith('6.1'), { machine: 'powernv9', hashHost: false, kernel: '6.12' }];
/** What holds a kernel to sections of kernel-abi.md. */
const MEASURED = '^(host|conformance|kernel bugs)';

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
    options: OPTIONS,
  });
  const { machine, kernel, measure, keep, shell, refresh, help } = values;
  const hashHost = values['hash-host'];
  const qemu = qemuOf(values);
  const radixHost = values['radix-host'];
  if (radixHost && (qemu === undefined || hashHost === true || (machine ?? 'powernv9') !== 'powernv9')) {
    throw new TypeError('--radix-host is for --qemu, on a powernv9 that is no --hash-host');
  }
  const soak = soakOf(values);
  if (measure && (qemu !== undefined || soak !== undefined || shell || values.filter !== '')) {
    throw new TypeError('--measure chooses the tests itself');
  }
  if (soak !== undefined && (qemu !== undefined || values.filter !== '')) {
    throw new TypeError('--soak-minutes is for a run without other tests');
  }
  /** @type {Configuration} */
  const chosen = {
    machine: oneOf('machine', machine ?? 'powernv9', ['powernv8', 'powernv9']),
    // On a radix host the POWER9 that an older QEMU emulates runs radix guests only.
    hashHost: hashHost ?? (qemu !== undefined && !radixHost),
    kernel: oneOf('kernel', kernel ?? '6.1', qemu === undefined ? KERNELS : ['6.1']),
    ...(qemu && { qemu }),
    ...(radixHost && { newEmulator: true }),
  };
  const isChosen = shell || [machine, hashHost, kernel, qemu].some((choice) => choice !== undefined);
  const all = measure ? KERNELS.flatMap(machinesWith) : [...USUAL];
  return {
    configurations: isChosen ? [chosen] : all,
    tests: {
      filter: measure ? MEASURED : new RegExp(values.filter).source === '(?:)' ? '' : values.filter,
      seed: count('seed', values.seed),
      operations: count('operations', values.operations),
      moves: count('moves', values.moves),
      kills: count('kills', values.kills),
      ...(qemu && { qemu }),
      ...(soak && { soak }),
      mayCrash: values['may-crash'] || measure,
    },
    measure,
    keep,
    shell,
    refresh,
    help,
  };
}

/**
 * @param {{ qemu: boolean, 'qemu-version'?: string | undefined }} values
 * @returns {import('./qemu.mjs').QemuSeries | undefined}
 */
function qemuOf({ qemu, 'qemu-version': version }) {
  if (qemu) return oneOf('qemu-version', version ?? '7.2', /** @type {const} */ (['7.2', '10.0']));
  if (version !== undefined) throw new TypeError('--qemu-version is for --qemu');
  return undefined;
}

/** @param {{ 'soak-minutes'?: string | undefined, 'soak-moves'?: string | undefined }} values */
function soakOf({ 'soak-minutes': minutes, 'soak-moves': moves }) {
  if (minutes === undefined) {
    if (moves !== undefined) throw new TypeError('--soak-moves is for --soak-minutes');
    return undefined;
  }
  return {
    minutes: count('soak-minutes', minutes),
    moves: moves === undefined ? ENDLESS : count('soak-moves', moves),
  };
}

/** @param {Configuration} configuration */
export function nameOf({ machine, hashHost, kernel, qemu }) {
  const mmu = machine === 'powernv8' || hashHost ? 'hash' : 'radix';
  const inside = qemu === undefined ? '' : `, QEMU ${qemu}`;
  return `POWER${machine.slice(-1)} ${mmu} host, Linux ${kernel}${inside}`;
}
