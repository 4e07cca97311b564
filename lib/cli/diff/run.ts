import { compareTables } from '../../hpt/compare.js';
import type { ChangedPart, EntryChange } from '../../hpt/entry-changes.js';
import type { HptTable } from '../../hpt/table.js';
import { kernelPagesOf } from '../../inspect/kernel-pages.js';
import { EXIT_CODES } from '../errors/exit-codes.js';
import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';
import { entryFields, entryText, type KnownGuest } from '../report/entry-text.js';
import { formatCount } from '../report/format.js';
import { jsonDocument } from '../report/json.js';
import { writeLines } from '../report/lines.js';
import { lookAtFile, lookingOf, type LookedAt } from '../table/look.js';
import { STANDARD_STREAM } from '../table/standard-stream.js';

/** What `kvm-htab diff` takes. */
export interface DiffCommandOptions {
  readonly order?: number;
  readonly list?: boolean;
  readonly json?: boolean;
}

/** How many entries differ, and how. */
interface DiffCounts {
  readonly gone: number;
  readonly come: number;
  readonly changed: number;
  /** Of the changed ones: R and C alone. */
  readonly marksOnly: number;
  /** Changed entries by what differs. */
  readonly parts: Readonly<Partial<Record<ChangedPart, number>>>;
}

const SHOWN = 16;

/**
 * Compares the tables of two files.
 *
 * @returns the exit code: 0 if the tables are the same
 */
export async function diff(
  [a, b]: readonly [string, string],
  options: DiffCommandOptions,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  if (a === STANDARD_STREAM && b === STANDARD_STREAM) {
    throw new UsageError('standard input holds one table: name a file for the other');
  }
  const looking = lookingOf(signal, output, options);
  const before = await lookAtFile(a, options, looking);
  const after = await lookAtFile(b, options, looking);
  if (before.table.order !== after.table.order) {
    throw new UsageError(
      `tables of different orders cannot be compared: ${before.name} has order ${before.table.order}, ` +
        `${after.name} order ${after.table.order}`,
    );
  }
  const { count, changes } = differences(before.table, after.table);
  const kernelPages = kernelPagesOf(before.table) ?? kernelPagesOf(after.table);
  const guest = kernelPages && { kernelPages };
  const shown = options.list === true ? count : Math.min(count, SHOWN);
  if (options.json === true) {
    const list = firstOf(changes(), shown).map((change) => changeFields(change, before.table.order, guest));
    const { order } = before.table;
    output.stdout.write(jsonDocument({ a, b, order, count, ...countsOf(changes()), changes: list }));
  } else {
    output.stdout.write(describe(before, after, count, countsOf(changes())));
    await writeLines(output.stdout, changeLines(changes(), shown, before.table.order, guest), signal);
    if (shown < count) output.stdout.write(`and ${formatCount(count - shown)} more; --list shows all\n`);
  }
  return count === 0 ? EXIT_CODES.ok : EXIT_CODES.failed;
}

function differences(
  before: HptTable,
  after: HptTable,
): { readonly count: number; readonly changes: () => Generator<EntryChange> } {
  const difference = compareTables(before, after);
  return { count: difference.count, changes: () => difference.changes() };
}

function countsOf(changes: Iterable<EntryChange>): DiffCounts {
  const kinds = { gone: 0, come: 0, changed: 0 };
  const parts: Partial<Record<ChangedPart, number>> = {};
  let marksOnly = 0;
  for (const change of changes) {
    kinds[change.kind]++;
    if (change.kind !== 'changed') continue;
    for (const part of change.parts) parts[part] = (parts[part] ?? 0) + 1;
    if (change.parts.join() === 'marks') marksOnly++;
  }
  return { ...kinds, marksOnly, parts };
}

function describe(before: LookedAt, after: LookedAt, count: number, counts: DiffCounts): string {
  const tables = `${before.name} and ${after.name}, order ${before.table.order}`;
  if (count === 0) return `${tables}: the tables are the same\n`;
  const parts = Object.entries(counts.parts).map(([part, entries]) => `${part} ${formatCount(entries)}`);
  const changed = `${formatCount(counts.changed)}${counts.marksOnly === 0 ? '' : `, ${formatCount(counts.marksOnly)} of them in R and C alone`}`;
  return `${tables}: ${formatCount(count)} entries differ

gone     ${formatCount(counts.gone)}
come     ${formatCount(counts.come)}
changed  ${changed}
${parts.length === 0 ? '' : `in       ${parts.join(', ')}\n`}
`;
}

function firstOf(changes: Iterable<EntryChange>, limit: number): EntryChange[] {
  const first: EntryChange[] = [];
  for (const change of changes) {
    if (first.length === limit) break;
    first.push(change);
  }
  return first;
}

function* changeLines(
  changes: Iterable<EntryChange>,
  limit: number,
  order: number,
  guest: KnownGuest,
): Generator<string> {
  let left = limit;
  for (const change of changes) {
    if (left-- === 0) return;
    const { kind, ptex } = change;
    const head = `${kind.padEnd(7)}  ${String(ptex).padStart(10)}`;
    if (change.kind === 'gone') yield `${head}  ${entryText({ ptex, ...change.before }, order, guest)}`;
    else if (change.kind === 'come') yield `${head}  ${entryText({ ptex, ...change.after }, order, guest)}`;
    else {
      yield `${head}  ${entryText({ ptex, ...change.before }, order, guest)}`;
      yield `${' '.repeat(19)}  ${entryText({ ptex, ...change.after }, order, guest)} [${change.parts.join(', ')}]`;
    }
  }
}

function changeFields(change: EntryChange, order: number, guest: KnownGuest): object {
  const { kind, ptex } = change;
  const fields = (value: { readonly v: bigint; readonly r: bigint }): object =>
    entryFields({ ptex, ...value }, order, guest);
  if (change.kind === 'gone') return { kind, ptex, before: fields(change.before) };
  if (change.kind === 'come') return { kind, ptex, after: fields(change.after) };
  return { kind, ptex, parts: change.parts, before: fields(change.before), after: fields(change.after) };
}
