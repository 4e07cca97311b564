import { ptegCount } from '../../hpt/geometry.js';
import type { HptTable } from '../../hpt/table.js';
import type { ChangeCounts, TableChanges } from '../../inspect/change-fold.js';
import { countOf, type ContextChanges } from '../../inspect/context-changes.js';
import { changeRow, changeRows } from '../report/context-rows.js';
import { formatCount, formatDuration, formatTable } from '../report/format.js';
import { drawRow, type MapStyle } from '../report/map.js';
import { CHANGE_CELLS, type TablePass } from '../table/watched-table.js';

/** Named in the line of a pass; the summary at the end has all. */
const CONTEXTS_SHOWN = 3;
const LEVELS = 9;

export function firstPassText(name: string, table: HptTable, durationMs: number): string {
  const { order, entryCount, validCount } = table;
  const part = formatCount(Math.max(ptegCount(order) / CHANGE_CELLS, 1));
  return `${name}: order ${order}, ${formatCount(validCount)} of ${formatCount(entryCount)} entries valid, read in ${formatDuration(durationMs)}
Each pass: + entries that came, - that went, ~ that changed. Map: ${CHANGE_CELLS} parts of ${part} groups; . no change, 1 one entry,
2 two or three, each next twice as many, 9 from 256 on.

`;
}

/** What a pass found, and a map of where. */
export function passText(
  { pass, validEntries, durationMs, changes }: TablePass,
  contexts: readonly ContextChanges[],
  style: MapStyle,
): string {
  const { come, gone, changed } = changes;
  const counts = `+${formatCount(come)}  -${formatCount(gone)}  ~${formatCount(changed)}${changedHow(changes)}`;
  const line = `pass ${pass}: ${counts}  ${formatCount(validEntries)} valid, ${formatDuration(durationMs)}${whose(contexts)}`;
  return `${line}\n  ${drawRow(levelsOf(changes.cells), style)}\n`;
}

/** What each part of the kernel and each process changed. */
export function churnText(passes: number, total: ChangeCounts, contexts: readonly ContextChanges[]): string {
  const rows = changeRows(contexts.toSorted((a, b) => countOf(b) - countOf(a)));
  return `\nChanges in ${formatCount(Math.max(passes - 1, 0))} passes after the first\n${formatTable([...rows, changeRow('all', '', total)])}\n`;
}

/** 0..1 by the doubling of the count, from one entry on. */
export function levelsOf(cells: Float64Array): Float64Array {
  return cells.map((count) =>
    count === 0 ? 0 : Math.min(1 + Math.floor(Math.log2(count)), LEVELS) / LEVELS,
  );
}

function changedHow({ changed, marksOnly, parts }: TableChanges): string {
  if (changed === 0) return '';
  const { marks: _, ...others } = parts;
  const how = [
    ...(marksOnly === 0 ? [] : [`${formatCount(marksOnly)} in R and C alone`]),
    ...Object.entries(others).map(([part, entries]) => `${part} ${formatCount(entries)}`),
  ];
  return ` (${how.join(', ')})`;
}

function whose(contexts: readonly ContextChanges[]): string {
  const named = contexts.filter(({ region }) => region !== 'other').slice(0, CONTEXTS_SHOWN);
  if (named.length === 0) return '';
  const texts = named.map((each) => `${nameOf(each)} ${formatCount(countOf(each))}`);
  const more = contexts.length - named.length;
  return `; ${texts.join(', ')}${more > 0 ? `, and ${formatCount(more)} more` : ''}`;
}

function nameOf({ region, context }: ContextChanges): string {
  return region === 'process' ? `process ${context}` : region;
}
