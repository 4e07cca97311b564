import { tableBytes } from '../../hpt/geometry.js';
import type { LinuxGuest } from '../../inspect/linux-guest.js';
import type { TableStats } from '../../inspect/table-stats.js';
import { contextRows, largestFirst } from '../report/context-rows.js';
import { formatBytes, formatCount, formatPageSize, formatShare, formatTable } from '../report/format.js';
import { adviceText, growthText, usualSize } from '../report/size-text.js';

const PROCESSES_SHOWN = 8;

/** What a table is, holds and lacks, as one screen. */
export function screenOf(name: string, stats: TableStats, guest: LinuxGuest | undefined): string {
  const lines: (readonly [string, string])[] = [
    ['size', sizeText(stats)],
    ...(guest === undefined ? [] : [['', adviceText(stats, usualSize(stats, guest))] as const]),
    ['valid', validText(stats)],
    ['pressure', pressureText(stats)],
    ['grow', growthText(stats)],
    ['groups', stats.occupancy.map((groups, held) => `${held}: ${formatCount(groups)}`).join('  ')],
    ['pages', pagesText(stats)],
    ['marks', counted(stats, ['bolted', 'referenced', 'changed'])],
    ['access', counted(stats, ['writable', 'executable'])],
    ['health', healthText(stats)],
  ];
  const rows = lines.map(([title, text]) => `${title.padEnd(10)}${text}`);
  return `Table of ${name}\n\n${rows.join('\n')}\n\n${guestText(guest)}`;
}

function sizeText({ order, entryCount, ptegCount }: TableStats): string {
  return `order ${order}: ${formatBytes(tableBytes(order))}, ${formatCount(entryCount)} entries in ${formatCount(ptegCount)} groups of 8`;
}

function validText({ validCount, entryCount, secondary }: TableStats): string {
  const share = `${formatCount(validCount)} entries, ${formatShare(validCount, entryCount)}`;
  return `${share}; ${formatCount(secondary)} by the second hash`;
}

function pressureText({ occupancy, ptegCount, cornered, validCount }: TableStats): string {
  const full = `${formatCount(occupancy[8]!)} groups full, ${formatShare(occupancy[8]!, ptegCount)}`;
  return `${full}; ${formatCount(cornered)} entries with both groups full, ${formatShare(cornered, validCount)}`;
}

function pagesText({ pageSizes, segments }: TableStats): string {
  const sizes = pageSizes.map(({ basePageShift, actualPageShift, entries }) => {
    const base = basePageShift === actualPageShift ? '' : ` by ${formatPageSize(basePageShift)}`;
    return `${formatPageSize(actualPageShift)}${base} ${formatCount(entries)}`;
  });
  const inSegments = Object.entries(segments).map(([size, entries]) => `${size} ${formatCount(entries)}`);
  return `${sizes.length === 0 ? 'none' : sizes.join(', ')}; in segments of ${inSegments.join(', ')}`;
}

function counted(stats: TableStats, names: readonly (keyof TableStats)[]): string {
  return names.map((name) => `${formatCount(stats[name] as number)} ${name}`).join(', ');
}

function healthText(stats: TableStats): string {
  const wrong = (['misplaced', 'doubled', 'unreadable'] as const).filter((name) => stats[name] > 0);
  if (wrong.length === 0) return 'no entry is misplaced, doubled or unreadable';
  return `UNHEALTHY: ${counted(stats, wrong)}`;
}

function guestText(guest: LinuxGuest | undefined): string {
  if (guest === undefined) {
    return 'No Linux guest, or one before 4.12: its bolted entries are not those of a Linux kernel. --by vsid shows segments.\n';
  }
  const { contexts, unknown } = guest;
  const processes = largestFirst(contexts.filter(({ region }) => region === 'process'));
  const shown = [
    ...contexts.filter(({ region }) => region !== 'process'),
    ...processes.slice(0, PROCESSES_SHOWN),
  ];
  const more = processes.length - PROCESSES_SHOWN;
  return `Linux guest with pages of ${guest.kernelPages}, ${formatCount(processes.length)} ${processes.length === 1 ? 'process' : 'processes'}
${formatTable(contextRows(shown))}
${more > 0 ? `and ${formatCount(more)} more processes; --by context shows all\n` : ''}\
${unknown > 0 ? `${formatCount(unknown)} entries are of no context\n` : ''}`;
}
