import { truncateSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { scratchFiles } from '../../scratch.js';
import {
  RAM,
  capabilities,
  configuration,
  endPart,
  htabOf,
  name,
  nextPart,
  ramBlock,
  record,
  startPart,
  streamOf,
  u32,
  u64,
} from '../stream-writer.js';
import { chunked } from '../support.js';

const scratch = scratchFiles();
const announced = startPart(RAM, 'ram', ramBlock(65_536), 4);
const end = endPart(RAM, u64(0x10));
const block = name('ppc_spapr.ram');

test('pages of every kind are passed over, in chunks of any length', async () => {
  const pages = Buffer.concat([
    u64(0x8),
    block,
    Buffer.alloc(4096, 0x7e),
    u64(0x1000 + 0x28),
    Buffer.alloc(4096, 2),
    u64(0x2000 + 0x22),
    Buffer.of(0),
    u64(0x3000 + 0x2),
    block,
    Buffer.of(0),
    u64(0x4000 + 0x60),
    Buffer.of(1, 0, 3, 9, 9, 9),
    u64(0x5000 + 0x120),
    u32(5),
    Buffer.alloc(5, 3),
    u64(0x200),
    u64(0x10),
  ]);
  const stream = streamOf(htabOf(record(8, 1)), { ram: [announced, nextPart(RAM, pages), end] });
  for (const chunkBytes of [1, 13, 4096, 1 << 20]) {
    const { ram, table, findings } = await readQemuStream(chunked(stream, chunkBytes));
    expect([ram!.pages, ram!.multifd, table!.validCount, findings]).toEqual([6, true, 1, []]);
  }
});

test('memory that is shared with the destination has addresses, and no pages', async () => {
  const config = configuration('pseries-10.0', capabilities('x-ignore-shared'));
  const ram = [startPart(RAM, 'ram', ramBlock(65_536, u64(0)), 4), end];
  const stream = await readQemuStream(chunked(streamOf(htabOf(), { config, ram })));
  expect(stream).toMatchObject({ capabilities: ['x-ignore-shared'], findings: [], sound: true });
});

test('pages of another size are told by the configuration', async () => {
  const config = configuration(
    'other',
    Buffer.concat([Buffer.of(5), name('configuration/target-page-bits'), u32(1), u32(14)]),
  );
  const page = Buffer.concat([u64(0x8), block, Buffer.alloc(16_384), u64(0x10)]);
  const stream = streamOf(htabOf(), { config, ram: [announced, nextPart(RAM, page), end] });
  const { ram, findings } = await readQemuStream(chunked(stream));
  expect(ram!.pages).toBe(1);
  expect(findings.map(({ message }) => message)).toEqual([
    'pages have 4096 bytes in the description, and 16384 in the stream',
  ]);
});

/** A mapped-ram file, whose pages begin at 1 MiB. */
function mapped(bytes: number): [begin: Buffer, rest: Buffer, restOffset: number] {
  const config = configuration('pseries-10.0', capabilities('mapped-ram'));
  const pagesOffset = 1 << 20;
  const map = (bitmapOffset: number): Buffer =>
    Buffer.concat([u32(1), u64(4096), u64(bitmapOffset), u64(pagesOffset)]);
  const stream = (bitmapOffset: number): Buffer =>
    streamOf(htabOf(record(8, 2)), {
      config,
      ram: [startPart(RAM, 'ram', ramBlock(bytes, map(bitmapOffset)), 4), end],
    });
  const header = stream(0).indexOf(map(0)) + 28;
  return [stream(header).subarray(0, header), stream(header).subarray(header), pagesOffset + bytes];
}

test('the pages of a mapped-ram file are passed over, in a file without reading them', async () => {
  const bytes = 2 ** 40;
  const [begin, rest, restOffset] = mapped(bytes);
  const file = scratch('mapped.mig');
  writeFileSync(file, begin);
  truncateSync(file, restOffset);
  writeFileSync(file, rest, { flag: 'a' });
  const stream = await readQemuStream(file);
  expect(stream).toMatchObject({ capabilities: ['mapped-ram'], findings: [], sound: true, trailingBytes: 0 });
  expect(stream.ram).toMatchObject({ mapped: true, blocks: [{ bytes }] });
  expect([stream.table!.validCount, stream.streamBytes]).toEqual([2, restOffset + rest.length]);

  const [small, smallRest, offset] = mapped(1 << 20);
  const whole = Buffer.concat([small, Buffer.alloc(offset - small.length), smallRest]);
  expect((await readQemuStream(chunked(whole, 5000))).table!.validCount).toBe(2);
});

test('a mapped-ram file that ends in its pages is refused', async () => {
  const [begin, , restOffset] = mapped(2 ** 40);
  const file = scratch('cut.mig');
  writeFileSync(file, begin);
  truncateSync(file, restOffset - 1);
  await expect(readQemuStream(file)).rejects.toMatchObject({ section: 'ram', byteOffset: restOffset - 1 });
});
