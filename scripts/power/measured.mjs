// What the kernels of the rig were found to do, section by section of kernel-abi.md: kept by `--measure`, one file a machine,
// and shown in a table of that page.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const FOLDER = join(repository, 'test/power/measured');
export const KERNEL_ABI = join(repository, 'lib/vm/kernel-abi.md');

const SECTION = String.raw`\d+(?:\.\d+)?(?: #\d+)?`;
/** A test's name ends with the sections that it holds a kernel to. */
const CITED = new RegExp(String.raw`\((${SECTION}(?:, ${SECTION})*)\)(?: \([\d.]+ s\))?$`);
const BEGUN = /^\S+ Debian (?<kernel>\S+) .*KernelPageSize: (?<pageKiB>\d+) kB .*cpu : POWER(?<processor>\d)/;
const BEGIN = '<!-- npm run test:power -- --measure -->\n';
const END = '<!-- end -->';

/**
 * @typedef {Record<string, number>} Tally section, or a trap of section 0 -> how many tests
 * @typedef {{ machine: string, kernel: string, pageKiB: number, passed: Tally, failed: Tally }} Measured
 */

/**
 * @param {import('./console.mjs').Console} console of a machine that got to its end
 * @returns {Measured}
 */
export function measuredOf({ begun = '', results }) {
  const { kernel = '', pageKiB = '', processor = '' } = BEGUN.exec(begun)?.groups ?? {};
  if (kernel === '') throw new Error(`what machine is this? ${begun}`);
  const mmu = /MMU : Radix/.test(begun) ? 'radix' : 'hash';
  /** @type {Record<'passed' | 'failed', Tally>} */
  const tallies = { passed: {}, failed: {} };
  for (const { name, passed } of results) {
    const tally = tallies[passed ? 'passed' : 'failed'];
    for (const cited of (CITED.exec(name)?.[1] ?? '').split(', ').filter(Boolean)) {
      const section = cited.startsWith('0 ') ? cited : cited.replace(/ .*/, '');
      tally[section] = (tally[section] ?? 0) + 1;
    }
  }
  return { machine: `POWER${processor} ${mmu}`, kernel, pageKiB: Number(pageKiB), ...tallies };
}

/**
 * Keeps it, and writes the page's table anew.
 *
 * @param {string} name of the configuration
 * @param {Measured} measured
 */
export function store(name, measured) {
  const file = `${name.toLowerCase().replaceAll(/[^a-z0-9.]+/g, '-')}.json`;
  writeFileSync(join(FOLDER, file), `${JSON.stringify(measured, undefined, 2)}\n`);
  writeFileSync(KERNEL_ABI, withTable(readFileSync(KERNEL_ABI, 'utf8')));
}

/**
 * @param {string} page kernel-abi.md
 * @returns {string} the page with its table
 */
export function withTable(page) {
  const [before = '', rest = ''] = page.split(BEGIN);
  const after = rest.slice(rest.indexOf(END));
  return `${before}${BEGIN}${tableOf(readAll(), rowsOf(page))}\n${after}`;
}

/** @param {string} name */
function read(name) {
  /** @type {unknown} */
  const measured = JSON.parse(readFileSync(join(FOLDER, name), 'utf8'));
  return /** @type {Measured} */ (measured);
}

/** @returns {Measured[]} kernel by kernel */
function readAll() {
  const all = readdirSync(FOLDER).map(read);
  const keyOf = (/** @type {Measured} */ { kernel, machine }) => `${kernel} ${machine}`;
  return all.sort((a, b) => keyOf(a).localeCompare(keyOf(b), 'en', { numeric: true }));
}

/**
 * The traps, each named by the words in bold, and the sections.
 *
 * @param {string} page
 * @returns {(readonly [section: string, title: string])[]}
 */
function rowsOf(page) {
  const traps = page.split(/^## /m)[1]?.matchAll(/^(\d+)\. [^*\n]*\*\*(.+?)\*\*/gms) ?? [];
  const sections = page.matchAll(/^###? (\d+(?:\.\d+)?)\.? (.+)$/gm);
  return [
    ...[...traps].map(([, number, bold = '']) => /** @type {const} */ ([`0 #${number}`, bold])),
    ...[...sections].map(([, number = '', title = '']) => /** @type {const} */ ([number, title])),
  ];
}

/**
 * @param {readonly Measured[]} all
 * @param {ReturnType<typeof rowsOf>} rows
 */
function tableOf(all, rows) {
  const cellOf = (/** @type {Measured} */ { passed, failed }, /** @type {string} */ section) => {
    const [asSaid, otherwise] = [passed[section] ?? 0, failed[section] ?? 0];
    if (otherwise > 0) return `**${otherwise} of ${asSaid + otherwise} differ**`;
    return asSaid === 0 ? '-' : String(asSaid);
  };
  const lines = rows.map(([section, title]) => [
    `${section}: ${title.replaceAll(/\s+/g, ' ').replace(/ \(.*| \[.*/, '')}`,
    ...all.map((each) => cellOf(each, section)),
  ]);
  const asked = lines.filter(([, ...cells]) => cells.some((cell) => cell !== '-'));
  const nameOf = (/** @type {Measured} */ { kernel, machine, pageKiB }) =>
    `${kernel}, ${machine}, ${pageKiB}K`;
  const heading = ['section', ...all.map(nameOf)];
  return [heading, heading.map(() => '---'), ...asked].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
