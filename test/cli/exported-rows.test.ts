import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { virtualPageOf } from '../../lib/hpt/hash.js';
import { decodeHpte } from '../../lib/hpt/hpte.js';
import { HptTable } from '../../lib/hpt/table.js';
import { linuxAddress } from '../../lib/inspect/linux-address.js';
import { tableStats } from '../../lib/inspect/table-stats.js';
import { writeTable } from '../../lib/snapshot/write-table.js';
import { randomTable } from '../inspect/random-table.js';
import { linuxTables } from '../inspect/support.js';
import { debugfsText } from '../snapshot/debugfs-writer.js';
import { scratchFolder } from '../scratch.js';
import { captureOutput } from './capture.js';

const folder = scratchFolder();
const inspectRoom = path.resolve(import.meta.dirname, '../../lib/inspect');
const MACROS = readFileSync(path.join(inspectRoom, 'kvm-htab.sql'), 'utf8');

type Row = Readonly<Record<string, unknown>>;
type Query = (sql: string) => Promise<Row[]>;

/** DuckDB with the macros; undefined on a machine that it has no binary for. */
const query = await openDuckDb().catch(() => undefined);

async function openDuckDb(): Promise<Query> {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const connection = await (await DuckDBInstance.create()).connect();
  await connection.run(MACROS);
  return async (sql) => (await connection.runAndReadAll(sql)).getRowObjects();
}

/** The export of a table, by a name of its own. */
async function exported(table: HptTable, name: string, ...options: string[]): Promise<string> {
  const inside = mkdtempSync(path.join(folder, 'export-'));
  const source = path.join(inside, 'guest');
  // A snapshot refuses entries that no kernel accepts.
  const isReal = Object.values<HptTable>(linuxTables).includes(table) || table.validCount === 0;
  if (isReal) await writeTable(table, source, undefined);
  else writeFileSync(source, debugfsText(table, 'power8'));
  const file = path.join(inside, name);
  const output = captureOutput();
  expect([
    await run(['export', source, file, '--quiet', '--order', String(table.order), ...options], output),
    output.stderr.text,
  ]).toEqual([0, '']);
  return file;
}

/** A table of order 36, whose last entry's index needs 32 bits. */
function largest(): HptTable {
  const table = new HptTable(36);
  for (const ptex of [0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
    table.set(ptex, 0xffff_ffff_ffff_ff9fn, 0xbfff_ffff_ffff_ffffn - BigInt(ptex));
  }
  return table;
}

const TABLES: readonly (readonly [string, HptTable])[] = [
  ...Object.entries(linuxTables),
  ['a random guest', randomTable(1)],
  ['another random guest', randomTable(2)],
  ['the largest table', largest()],
  ['an empty table', new HptTable(18)],
];

describe.skipIf(query === undefined)('export, read back by DuckDB (skipped where it has no binary)', () => {
  test.each(TABLES)('of %s as Parquet has every entry as it is', async (_, table) => {
    const rows = await query!(`SELECT ptex, v, r FROM '${await exported(table, 'raw.parquet')}'`);
    expect(rows.length).toBe(table.validCount);
    let at = 0;
    for (const [ptex, { v, r }] of table) {
      const row = rows[at++]!;
      if (row['ptex'] !== BigInt(ptex) || row['v'] !== v || row['r'] !== r)
        expect(row).toEqual({ ptex, v, r });
    }
  });

  test('names table, guest and host in the metadata, in row groups of 131,072', async () => {
    const table = linuxTables['qemu-10.0.2-kvm-6.12-p9hash-256m'];
    const file = await exported(table, 'raw.parquet');
    expect(await query!(`FROM hpt_tables('${file}')`)).toEqual([
      {
        file,
        source: path.join(path.dirname(file), 'guest'),
        host: null,
        table_order: table.order,
        valid_entries: BigInt(table.validCount),
        digest: digestTable(table),
        kernel_pages: '64K',
      },
    ]);
    const groups = await query!(
      `SELECT DISTINCT row_group_id, row_group_num_rows AS n FROM parquet_metadata('${file}') ORDER BY ALL`,
    );
    expect(groups.map(({ n }) => n)).toEqual([131_072n, 443n]);
    const types = await query!(`DESCRIBE FROM '${file}'`);
    expect(types.map((row) => row['column_type'])).toEqual(['UBIGINT', 'UBIGINT', 'UBIGINT']);
  });

  test.each(TABLES)('of %s is decoded by the macros as by the library', async (_, table) => {
    const raw = await exported(table, 'raw.parquet');
    const rows = await query!(`FROM hpt_entries('${raw}') ORDER BY ptex`);
    const pages = (await query!(`FROM hpt_tables('${raw}')`))[0]!['kernel_pages'];
    const guest = pages === '64K' ? ({ kernelPages: '64K' } as const) : undefined;
    let at = 0;
    for (const [ptex, { v, r }] of table) {
      const row = rows[at++]!;
      const wanted = decodedRow(ptex, { v, r }, table.order, guest?.kernelPages);
      if (Object.entries(wanted).some(([name, value]) => row[name] !== value))
        expect(row).toMatchObject(wanted);
    }
    expect(at).toBe(rows.length);
  });

  test.each(TABLES)(
    'of %s with --decoded is what the macros make of it, with the same types',
    async (_, table) => {
      const [raw, decoded] = [
        await exported(table, 'a.parquet'),
        await exported(table, 'b.parquet', '--decoded'),
      ];
      const named = (from: string): string => `SELECT * EXCLUDE (source) FROM ${from}`;
      const [a, b] = [named(`hpt_entries('${raw}')`), named(`'${decoded}'`)];
      for (const [from, less] of [
        [a, b],
        [b, a],
      ] as const) {
        expect(await query!(`${from} EXCEPT ALL ${less}`)).toEqual([]);
      }
      const typesOf = async (sql: string): Promise<unknown> =>
        (await query!(`DESCRIBE ${sql}`)).map((row) => [row['column_name'], row['column_type']]);
      expect(await typesOf(a)).toEqual(await typesOf(b));
    },
  );

  test('as CSV has the same values, doublewords in hexadecimal', async () => {
    const table = linuxTables['qemu-10.0.2-p9hash-1g'];
    const [raw, text] = [await exported(table, 'a.parquet'), await exported(table, 'a.csv')];
    const parsed = `SELECT ptex::UBIGINT AS ptex, v::UBIGINT AS v, r::UBIGINT AS r FROM read_csv('${text}', all_varchar = true)`;
    expect(await query!(`SELECT count(*) AS n FROM (${parsed})`)).toEqual([{ n: BigInt(table.validCount) }]);
    expect(await query!(`${parsed} EXCEPT ALL SELECT * FROM '${raw}'`)).toEqual([]);
    const [first] = readFileSync(await exported(table, 'b.csv', '--decoded'), 'utf8').split('\n');
    expect(first).toMatch(/^source,table_order,ptex,.*,region,effective_address$/);
  });

  test("the fleet's queries of the documentation run on raw and decoded exports, and give the same", async () => {
    const queries = [
      ...readFileSync(path.join(inspectRoom, 'README.md'), 'utf8').matchAll(/```sql\n(.*?)```/gs),
    ];
    const guests = [
      ['old', linuxTables['qemu-7.2.22-tcg-1g']],
      ['new', linuxTables['qemu-10.0.2-p9hash-1g']],
      ['crowded', randomTable(1, { healthy: true, share: 0.9 })],
    ] as const;
    const results: unknown[] = [];
    for (const options of [[], ['--decoded']]) {
      const fleet = path.join(folder, `fleet${options.length}`);
      mkdirSync(fleet);
      for (const [name, table] of guests) {
        const snapshot = path.join(folder, name);
        await writeTable(table, snapshot, undefined);
        const args = ['export', snapshot, path.join(fleet, `${name}.parquet`), '--quiet', ...options];
        expect(await run(args, captureOutput())).toBe(0);
      }
      const from =
        options.length === 0 ? `hpt_entries('${fleet}/*.parquet')` : `read_parquet('${fleet}/*.parquet')`;
      await query!(`CREATE OR REPLACE TEMP VIEW entries AS FROM ${from}`);
      for (const [, sql] of queries.slice(1)) results.push(await query!(sql!));
    }
    expect(queries.length).toBe(3);
    expect(results.slice(2)).toEqual(results.slice(0, 2));
    const [byRegion, crowded] = results as Row[][];
    const vmemmap = byRegion!.filter(({ region }) => region === 'vmemmap');
    expect(vmemmap.map(({ source, entries }) => [path.basename(String(source)), entries])).toEqual([
      ['new', 16n],
      ['old', 16n],
    ]);
    const share = tableStats(guests[2][1]).occupancy[8]! / 2 ** 11;
    expect(crowded!.map(({ source, full_share }) => [path.basename(String(source)), full_share])).toEqual([
      ['crowded', share],
    ]);
  });
});

/** A row as it must be, of the library's own functions. */
function decodedRow(
  ptex: number,
  { v, r }: { readonly v: bigint; readonly r: bigint },
  order: number,
  kernelPages: '64K' | undefined,
): Row {
  const hpte = decodeHpte(v, r);
  const page = virtualPageOf(ptex, v, r, order);
  const address = page && kernelPages && linuxAddress(page, kernelPages);
  return {
    ptex: BigInt(ptex),
    pteg: BigInt(Math.floor(ptex / 8)),
    slot: ptex % 8,
    secondary: hpte?.secondary ?? null,
    bolted: hpte?.bolted ?? null,
    segment: hpte?.segment ?? null,
    base_page_shift: hpte?.basePageShift ?? null,
    actual_page_shift: hpte?.actualPageShift ?? null,
    guest_address: hpte?.guestAddress ?? null,
    pp: hpte?.pp ?? null,
    storage_key: hpte?.key ?? null,
    wimg: hpte?.wimg ?? null,
    no_execute: hpte?.noExecute ?? null,
    referenced: hpte?.referenced ?? null,
    changed: hpte?.changed ?? null,
    misplaced: hpte !== undefined && page === undefined,
    vsid: page?.vsid ?? null,
    segment_offset: page?.offset ?? null,
    context: address?.context ?? null,
    region: address?.region ?? null,
    effective_address: address?.effectiveAddress ?? null,
  };
}
