import type { EntryBatch } from '../../hpt/entry-batches.js';
import { groupOf, slotOf } from '../../hpt/geometry.js';
import { virtualPageOf } from '../../hpt/hash.js';
import { decodeHpte } from '../../hpt/hpte.js';
import type { KernelPages } from '../../inspect/linux-regions.js';
import type { Column, Values } from './column.js';
import { ColumnValues } from './column-values.js';
import { LinuxSegments } from './linux-segments.js';

/** Columns, and how to make them of entries. */
export interface Layout {
  readonly columns: readonly Column[];
  /** Rows made at once, which are a row group of Parquet. */
  readonly rows: number;
  /** One for each column, which the next call may fill again. */
  valuesOf(batch: EntryBatch): readonly Values[];
}

/** Fewer than of raw entries: most values are an object for a while. */
const DECODED_ROWS = 65_536;

/** Entries as they stand in the table. */
export const RAW: Layout = {
  columns: [
    { name: 'ptex', type: 'unsigned index' },
    { name: 'v', type: 'hex', diverse: true },
    { name: 'r', type: 'hex', diverse: true },
  ],
  rows: 131_072,
  valuesOf: ({ ptex, v, r }) => [ptex, v, r],
};

const DECODED: readonly Column[] = [
  { name: 'source', type: 'text' },
  { name: 'table_order', type: 'int' },
  { name: 'ptex', type: 'index' },
  { name: 'pteg', type: 'index' },
  { name: 'slot', type: 'int' },
  { name: 'secondary', type: 'flag', optional: true },
  { name: 'bolted', type: 'flag', optional: true },
  { name: 'segment', type: 'text', optional: true },
  { name: 'base_page_shift', type: 'int', optional: true },
  { name: 'actual_page_shift', type: 'int', optional: true },
  { name: 'guest_address', type: 'long', optional: true, diverse: true },
  { name: 'pp', type: 'int', optional: true },
  { name: 'storage_key', type: 'int', optional: true },
  { name: 'wimg', type: 'int', optional: true },
  { name: 'no_execute', type: 'flag', optional: true },
  { name: 'referenced', type: 'flag', optional: true },
  { name: 'changed', type: 'flag', optional: true },
  { name: 'misplaced', type: 'flag' },
  { name: 'vsid', type: 'long', optional: true },
  { name: 'segment_offset', type: 'long', optional: true, diverse: true },
  { name: 'context', type: 'int', optional: true },
  { name: 'region', type: 'text', optional: true },
  { name: 'effective_address', type: 'hex', optional: true, diverse: true },
];

/**
 * Entries by their fields. Guest addresses and offsets have less than 63 bits; what is in Linux's own terms is there only for a
 * Linux guest.
 *
 * @param source name of the table
 */
export function decoded(source: string, order: number, kernelPages: KernelPages | undefined): Layout {
  const segments = kernelPages && new LinuxSegments(kernelPages);
  const columns = DECODED.map(({ type }) => new ColumnValues(type, DECODED_ROWS));
  return {
    columns: DECODED,
    rows: DECODED_ROWS,
    valuesOf: ({ ptex: ptexes, v, r }) => {
      for (const [row, ptex] of ptexes.entries()) {
        const fields = [
          source,
          order,
          ptex,
          groupOf(ptex),
          slotOf(ptex),
          ...fieldsOf(ptex, v[row]!, r[row]!),
        ];
        for (const [column, value] of fields.entries()) columns[column]!.set(row, value);
      }
      return columns.map((column) => column.take(ptexes.length));
    },
  };

  function fieldsOf(ptex: number, v: bigint, r: bigint): Values[number][] {
    const hpte = decodeHpte(v, r);
    const page = virtualPageOf(ptex, v, r, order);
    const address = page && segments?.addressOf(page);
    return [
      ...[hpte?.secondary, hpte?.bolted, hpte?.segment, hpte?.basePageShift, hpte?.actualPageShift],
      ...[hpte?.guestAddress, hpte?.pp, hpte?.key, hpte?.wimg],
      ...[hpte?.noExecute, hpte?.referenced, hpte?.changed, hpte !== undefined && page === undefined],
      ...[page?.vsid, page?.offset, address?.context, address?.region, address?.effectiveAddress],
    ];
  }
}
