import { readFileSync, readdirSync, existsSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { compareTables } from '../../../lib/hpt/compare.js';
import { digestTable } from '../../../lib/hpt/digest.js';
import { HptTable } from '../../../lib/hpt/table.js';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { rewriteQemuStream } from '../../../lib/qemu/stream/rewrite.js';
import { scratchFiles } from '../../scratch.js';
import { saveFile } from '../libvirt-writer.js';
import { HTAB, endPart, htabOf, record, records, startPart, streamOf, u32 } from '../stream-writer.js';
import { chunked, expected, fixture } from '../support.js';

const scratch = scratchFiles();
const withTable = Object.entries(expected).flatMap(([name, { order }]) => (order === null ? [] : [name]));
const KVM = withTable.find((name) => name.includes('-kvm-'))!;

test.each(withTable)('%s with the table of another guest is its stream in all else', async (name) => {
  const other = withTable[(withTable.indexOf(name) + 1) % withTable.length]!;
  const { table } = await readQemuStream(chunked(fixture(other)));
  const target = scratch('new.mig');
  const report = await rewriteQemuStream(chunked(fixture(name), 5000), table!, target);
  const before = await readQemuStream(chunked(fixture(name)));
  const after = await readQemuStream(target);
  expect(after.findings).toEqual([]);
  expect(digestTable(after.table!)).toBe(digestTable(table!));
  expect(report).toMatchObject({
    order: 23,
    validEntries: table!.validCount,
    streamBytes: fixture(name).length,
    fileBytes: after.streamBytes,
  });
  const others = ({ sections }: typeof after): unknown[] =>
    sections
      .filter(({ name: section }) => section !== 'spapr/htab')
      .map((each) => ({ ...each, byteOffset: 0 }));
  expect(others(after)).toEqual(others(before));
  // The description, the last devices and all before the table are the same bytes.
  const bytes = readFileSync(target);
  const same = fixture(name).length - 2_200_000;
  expect(bytes.subarray(-2_200_000).equals(fixture(name).subarray(same))).toBe(true);
});

test('a table of a KVM guest comes without the bit that the kernel sets, in records that QEMU can take', async () => {
  const { table } = await readQemuStream(chunked(fixture(KVM)));
  const first = table!.valid.next(0);
  expect(table!.get(first)!.v & 0x40n).toBe(0x40n);
  const target = scratch('new.mig');
  await rewriteQemuStream(chunked(fixture(KVM)), table!, target);
  const after = await readQemuStream(target);
  expect(after.table!.get(first)!.v & 0x60n).toBe(0n);
  expect(compareTables(after.table!, table!).count).toBe(0);
});

test('runs are cut to 127 entries, and an index that wraps is gone', async () => {
  const table = new HptTable(18);
  for (let ptex = 0; ptex < 16_384; ptex++) table.set(ptex, (BigInt(ptex) << 12n) | 1n, 0x190n);
  const target = scratch('full.mig');
  await rewriteQemuStream(chunked(streamOf(htabOf(record(0xffff_fff8, 0, 16)))), table, target);
  const after = await readQemuStream(target);
  expect(after.records).toMatchObject({ records: Math.ceil(16_384 / 127), longestRun: 127 });
  expect(compareTables(after.table!, table).count).toBe(0);
});

test.each([0, 1])(
  'a save file of libvirt keeps its header, and its stream is no more compressed (%i)',
  async (compression) => {
    const table = new HptTable(18);
    const stream = streamOf(htabOf(record(8, 2)));
    const file = saveFile(compression === 0 ? stream : gzipSync(stream), { compression, cookie: '<c/>' });
    const target = scratch('new.save');
    await rewriteQemuStream(chunked(file), table, target, { allowEmpty: true });
    const { libvirt, table: empty, findings } = await readQemuStream(target);
    expect([libvirt!.compression, empty!.validCount, findings]).toEqual(['raw', 0, []]);
    const expectedFile = saveFile(streamOf(htabOf()), { cookie: '<c/>' });
    expect(readFileSync(target).equals(expectedFile)).toBe(true);
  },
);

test.each([
  [
    'of another order',
    streamOf([startPart(HTAB, 'spapr/htab', u32(19)), endPart(HTAB, records())]),
    'UNAVAILABLE',
  ],
  ['without a table', streamOf([]), 'FORMAT'],
  ['of a radix guest', streamOf([startPart(HTAB, 'spapr/htab', u32(-1)), endPart(HTAB, u32(-1))]), 'FORMAT'],
  ['without the last part', streamOf([startPart(HTAB, 'spapr/htab', u32(18))]), 'FORMAT'],
  ['that is cut', streamOf(htabOf()).subarray(0, 150), 'FORMAT'],
])('a stream %s is refused, and nothing is left', async (_, stream, code) => {
  const target = scratch('none.mig');
  await expect(rewriteQemuStream(chunked(stream), new HptTable(18), target)).rejects.toMatchObject({
    code: `ERR_HTAB_${code}`,
  });
  expect([existsSync(target), readdirSync(path.dirname(target))]).toEqual([false, []]);
});
