import { setImmediate } from 'node:timers/promises';
import type { HptTable } from '../../hpt/table.js';
import { findEntries, type FoundEntry } from '../../inspect/find-entries.js';
import { linuxGuest, type LinuxGuest } from '../../inspect/linux-guest.js';
import { tableMap } from '../../inspect/table-map.js';
import { tableStats, type TableStats } from '../../inspect/table-stats.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { entryFields, entryText, hex } from '../report/entry-text.js';
import { formatTable } from '../report/format.js';
import { jsonDocument, jsonLine } from '../report/json.js';
import { writeLines } from '../report/lines.js';
import { drawMap, mapStyleOf } from '../report/map.js';
import { lookAt, lookingOf, type LookedAt } from '../table/look.js';
import { entriesAt, listed } from './entries.js';
import { groupRows, type Grouping } from './groupings.js';
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
  const source = await lookAt(file, options, lookingOf(signal, output, options));
  const { table } = source;
  const stats = tableStats(table);
  const guest = linuxGuest(stats);
  // Counting lets no signal in.
  await setImmediate();
  signal.throwIfAborted();
  if (options.list === true) {
    await writeLines(output.stdout, listLines(table, options, guest), signal);
    return EXIT_CODES.ok;
  }
  const found = entriesOf(options, table, guest);
  if (found !== undefined) {
    output.stdout.write(foundText(found, source, guest, options.json === true));
    return found.length === 0 ? EXIT_CODES.failed : EXIT_CODES.ok;
  }
  if (options.json === true) {
    output.stdout.write(jsonDocument(documentOf(source, stats, guest)));
  } else if (options.by === undefined) {
    const map = drawMap(tableMap(table, MAP_CELLS), MAP_COLUMNS, mapStyleOf(output.stdout, process.env));
    output.stdout.write(`${screenOf(source.name, stats, guest)}\n${map}`);
  } else {
    checkGrouping(options.by, guest);
    await writeLines(output.stdout, [formatTable(groupRows(options.by, stats, guest))], signal);
  }
  return EXIT_CODES.ok;
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

/** The entries that are looked for; undefined if none are. */
function entriesOf(
  { at, guestAddress, ptex, context }: InspectCommandOptions,
  table: HptTable,
  guest: LinuxGuest | undefined,
): readonly FoundEntry[] | undefined {
  if (at !== undefined) return entriesAt(at, table, guest, context);
  if (guestAddress !== undefined) {
    if (guestAddress >> 60n !== 0n) throw new UsageError('--guest-address must be below 2^60');
    return findEntries(table, { guestAddress });
  }
  if (ptex === undefined) return undefined;
  if (ptex >= table.entryCount) throw new UsageError(`--ptex: the last entry is ${table.entryCount - 1}`);
  const value = table.get(ptex);
  return value === undefined ? [] : [{ ptex, ...value }];
}

function foundText(
  entries: readonly FoundEntry[],
  { name, table }: LookedAt,
  guest: LinuxGuest | undefined,
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

function* listLines(
  table: HptTable,
  options: InspectCommandOptions,
  guest: LinuxGuest | undefined,
): Generator<string> {
  for (const entry of listed(table, options, guest)) {
    if (options.json === true) yield jsonLine(entryFields(entry, table.order, guest)).trimEnd();
    else yield `${String(entry.ptex).padStart(10)}  ${entryText(entry, table.order, guest)}`;
  }
}

function documentOf({ name }: LookedAt, stats: TableStats, guest: LinuxGuest | undefined): object {
  const { vsids, ...counts } = stats;
  return {
    source: name,
    ...counts,
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
