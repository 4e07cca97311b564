import { setImmediate } from 'node:timers/promises';
import type { HptTable } from '../../hpt/table.js';
import { findEntries, type FoundEntry } from '../../inspect/find-entries.js';
import { kernelPagesOf } from '../../inspect/kernel-pages.js';
import { linuxGuest, type LinuxGuest } from '../../inspect/linux-guest.js';
import { tableMap } from '../../inspect/table-map.js';
import { tableStats, type TableStats } from '../../inspect/table-stats.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { entryFields, entryText, hex, type KnownGuest } from '../report/entry-text.js';
import { formatTable } from '../report/format.js';
import { jsonDocument, jsonLine } from '../report/json.js';
import { writeLines } from '../report/lines.js';
import { drawMap, mapStyleOf } from '../report/map.js';
import { growthOf } from '../report/size-text.js';
import { lookAtTable, lookingOf, type LookedAt } from '../table/look.js';
import { entriesAt, listed } from './entries.js';
import type { Grouping } from '../report/grouping.js';
import { groupRows } from '../report/groupings.js';
import type { InspectCommandOptions } from './inspect-options.js';
import { screenOf } from './screen.js';

const MAP_COLUMNS = 64;
const MAP_CELLS = 512;

/**
 * Shows what is in a table.
 *
 * @returns the exit code: 0; 1 if an entry that was looked for is not there
 */
export async function inspect(
  file: string | undefined,
  options: InspectCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  checkFilters(options);
  const source = await lookAtTable(file, options, lookingOf(signal, output, options));
  const { at, guestAddress, ptex, list = false } = options;
  if (list || at !== undefined || guestAddress !== undefined || ptex !== undefined) {
    return await showEntries(source, options, output, signal);
  }
  await showCounts(source, options, output, signal);
  return EXIT_CODES.ok;
}

/** Shows single entries: nothing but whose they are has to be counted for it. */
async function showEntries(
  source: LookedAt,
  options: InspectCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { table } = source;
  const kernelPages = kernelPagesOf(table);
  const guest = kernelPages && { kernelPages };
  await letSignalsIn(signal);
  if (options.list === true) {
    await writeLines(output.stdout, listLines(table, options, guest), signal);
    return EXIT_CODES.ok;
  }
  const found = entriesOf(options, table, guest);
  output.stdout.write(foundText(found, source, guest, options.json === true));
  return found.length === 0 ? EXIT_CODES.failed : EXIT_CODES.ok;
}

/** Shows what is counted of the whole table. */
async function showCounts(
  { name, table }: LookedAt,
  { by, json = false }: InspectCommandOptions,
  { stdout }: Output,
  signal: AbortSignal,
): Promise<void> {
  const stats = tableStats(table);
  const guest = linuxGuest(stats);
  await letSignalsIn(signal);
  if (json) {
    stdout.write(jsonDocument(documentOf(name, stats, guest)));
  } else if (by === undefined) {
    const map = drawMap(tableMap(table, MAP_CELLS), MAP_COLUMNS, mapStyleOf(stdout, process.env));
    stdout.write(`${screenOf(name, stats, guest)}\n${map}`);
  } else {
    checkGrouping(by, guest);
    await writeLines(stdout, [formatTable(groupRows(by, stats, guest))], signal);
  }
}

/** Counting lets none in. */
async function letSignalsIn(signal: AbortSignal): Promise<void> {
  await setImmediate();
  signal.throwIfAborted();
}

/** @throws UsageError for a filter of a list where none is asked for */
function checkFilters({ at, list, context, region, bolted }: InspectCommandOptions): void {
  if (list === true) return;
  if (region !== undefined || bolted === true) throw new UsageError('--region and --bolted go with --list');
  if (context !== undefined && at === undefined) throw new UsageError('--context goes with --at or --list');
}

/** @throws UsageError for contexts of a guest that has none */
function checkGrouping(by: Grouping, guest: LinuxGuest | undefined): void {
  if (guest !== undefined || (by !== 'context' && by !== 'region')) return;
  throw new UsageError(
    `the guest is no Linux guest, or one before 4.12: it has no ${by}s; --by vsid shows segments`,
  );
}

/** The entries that are looked for. */
function entriesOf(
  { at, guestAddress, ptex = 0, context }: InspectCommandOptions,
  table: HptTable,
  guest: KnownGuest,
): readonly FoundEntry[] {
  if (at !== undefined) return entriesAt(at, table, guest, context);
  if (guestAddress !== undefined) {
    if (guestAddress >> 60n !== 0n) throw new UsageError('--guest-address must be below 2^60');
    return findEntries(table, { guestAddress });
  }
  if (ptex >= table.entryCount) throw new UsageError(`--ptex: the last entry is ${table.entryCount - 1}`);
  const value = table.get(ptex);
  return value === undefined ? [] : [{ ptex, ...value }];
}

function foundText(
  entries: readonly FoundEntry[],
  { name, table }: LookedAt,
  guest: KnownGuest,
  json: boolean,
): string {
  if (json) {
    return jsonDocument({
      source: name,
      entries: entries.map((entry) => entryFields(entry, table.order, guest)),
    });
  }
  if (entries.length === 0) return 'no valid entry\n';
  return entries.map((entry) => `ptex ${entry.ptex}  ${entryText(entry, table.order, guest)}\n`).join('');
}

function* listLines(table: HptTable, options: InspectCommandOptions, guest: KnownGuest): Generator<string> {
  for (const entry of listed(table, options, guest)) {
    if (options.json === true) yield jsonLine(entryFields(entry, table.order, guest)).trimEnd();
    else yield `${String(entry.ptex).padStart(10)}  ${entryText(entry, table.order, guest)}`;
  }
}

function documentOf(name: string, stats: TableStats, guest: LinuxGuest | undefined): object {
  const { vsids, ...counts } = stats;
  return {
    source: name,
    ...counts,
    grow: growthOf(stats),
    vsids: vsids.map((each) => ({ ...each, vsid: hex(each.vsid) })),
    guest: guest && {
      ...guest,
      contexts: guest.contexts.map((each) => ({
        ...each,
        lowest: hex(each.lowest),
        highest: hex(each.highest),
      })),
    },
  };
}
