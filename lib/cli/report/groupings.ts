import type { ContextStats, LinuxGuest } from '../../inspect/linux-guest.js';
import type { TableStats } from '../../inspect/table-stats.js';
import type { MappedCounts } from '../../inspect/vsid-stats.js';
import { contextRows, largestFirst, MAPPED, mappedCells } from './context-rows.js';
import { hex } from './entry-text.js';
import { formatCount, formatPageSize, formatShare } from './format.js';
import type { Grouping } from './grouping.js';

/** Counts as a table, its heading first. */
export function groupRows(by: Grouping, stats: TableStats, guest: LinuxGuest | undefined): string[][] {
  switch (by) {
    case 'pteg':
      return [
        ['valid entries', 'groups', 'share'],
        ...stats.occupancy.map((groups, held) => [
          String(held),
          formatCount(groups),
          formatShare(groups, stats.ptegCount),
        ]),
      ];
    case 'page-size':
      return [
        ['base page', 'mapped as', 'entries'],
        ...stats.pageSizes.map(({ basePageShift, actualPageShift, entries }) => [
          formatPageSize(basePageShift),
          formatPageSize(actualPageShift),
          formatCount(entries),
        ]),
      ];
    case 'vsid':
      return [
        ['vsid', 'segment', ...MAPPED],
        ...stats.vsids.map((each) => [hex(each.vsid), each.segment, ...mappedCells(each)]),
      ];
    case 'context':
      return contextRows(largestFirst(guest?.contexts ?? []));
    case 'region':
      return regionRows(guest?.contexts ?? []);
  }
}

function regionRows(contexts: readonly ContextStats[]): string[][] {
  const regions = new Map<string, ContextStats[]>();
  for (const each of contexts) regions.set(each.region, [...(regions.get(each.region) ?? []), each]);
  return [
    ['region', 'contexts', ...MAPPED],
    ...[...regions].map(([region, members]) => [
      region,
      String(members.length),
      ...mappedCells(members.reduce(addCounts, NOTHING)),
    ]),
  ];
}

const NOTHING: MappedCounts = { entries: 0, bytes: 0, bolted: 0, writable: 0, executable: 0 };

function addCounts(a: MappedCounts, b: MappedCounts): MappedCounts {
  return {
    entries: a.entries + b.entries,
    bytes: a.bytes + b.bytes,
    bolted: a.bolted + b.bolted,
    writable: a.writable + b.writable,
    executable: a.executable + b.executable,
  };
}
