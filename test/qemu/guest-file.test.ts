import { createReadStream, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import { readGuestFile, readTableFile, tableOf } from '../../lib/qemu/guest-file.js';
import { type QemuStreamProgress, readQemuStream } from '../../lib/qemu/stream/read-qemu-stream.js';
import { loadSnapshot } from '../../lib/snapshot/load.js';
import { readSnapshot } from '../../lib/snapshot/read.js';
import { writeTable } from '../../lib/snapshot/write-table.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { scratchFiles } from '../scratch.js';
import { debugfsText } from '../snapshot/debugfs-writer.js';
import { saveFile } from './libvirt-writer.js';
import { HTAB, htabOf, nextPart, record, records, startPart, streamOf, u32 } from './stream-writer.js';
import { chunked, fixture } from './support.js';

const scratch = scratchFiles();
const stream = streamOf(htabOf(record(8, 2)));

function written(name: string, bytes: Uint8Array): string {
  const path = scratch(name);
  writeFileSync(path, bytes);
  return path;
}

test('the content of a file tells what it is, from a path and from a stream', async () => {
  const { table } = await readQemuStream(chunked(stream));
  const snapshot = scratch('guest.hpt');
  await writeTable(table!, snapshot, undefined);
  for (const [path, kind] of [
    [written('a', stream), 'qemu'],
    [written('b', saveFile(stream)), 'qemu'],
    [snapshot, 'snapshot'],
  ] as const) {
    expect((await readGuestFile(path)).kind).toBe(kind);
    const { info, table: read } = await readTableFile(createReadStream(path, { highWaterMark: 5 }));
    expect([info.validEntries, info.digest, digestTable(read)]).toEqual([
      2,
      digestTable(table!),
      info.digest,
    ]);
  }
});

const random = Buffer.alloc(1 << 18);
for (const [at] of random.entries()) random[at] = (Math.imul(at, 0x9e3779b1) >>> 13) & 0xff;

test.each([
  [Buffer.alloc(0), "it is empty, as KVM's debugfs text of a radix guest is"],
  [Buffer.from('K'), 'it has 1 bytes; a table has 2^18 to 2^36, a power of two'],
  [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'it has 18 bytes; a table has 2^18 to 2^36, a power of two'],
  [random, '5871 of the 8192 entries that it would have are not where their addresses hash to'],
])('any other file is refused, from a path and from a stream', async (bytes, reason) => {
  for (const source of [written('other', bytes), chunked(bytes, 7777)]) {
    await expect(readGuestFile(source)).rejects.toThrow(
      expect.objectContaining({
        code: 'ERR_HTAB_FORMAT',
        byteOffset: 0,
        message: expect.stringContaining(`, nor a table's memory: ${reason}`) as string,
      }),
    );
  }
});

test("a table's memory and KVM's debugfs text are told by their content, and give its table", async () => {
  const { table } = await readQemuStream(chunked(fixture('qemu-10.0.2-p9hash-1g')));
  const memory = Buffer.alloc(2 ** table!.order);
  for (const [ptex, { v, r }] of table!) {
    memory.writeBigUInt64BE(v, ptex * 16);
    memory.writeBigUInt64BE(r, ptex * 16 + 8);
  }
  for (const [kind, bytes] of [
    ['memory', memory],
    ['debugfs', Buffer.from(debugfsText(table!, 'power9'))],
  ] as const) {
    for (const source of [written(kind, bytes), chunked(bytes, 99_999)]) {
      const read: number[] = [];
      const onProgress = (progress: QemuStreamProgress): unknown => read.push(progress.bytes);
      const file = await readGuestFile(source, { onProgress });
      expect(file).toMatchObject({ kind, fileBytes: bytes.length });
      expect(digestTable(tableOf(file))).toBe(digestTable(table!));
      expect(read.at(-1)).toBe(bytes.length);
      if (typeof source !== 'string') continue;
      const { info } = await readTableFile(source);
      expect(info).toMatchObject({
        ...{ order: 23, validEntries: 17_240, digest: digestTable(table!) },
        ...{ quiescent: false, fileBytes: bytes.length },
      });
    }
  }
});

test('an order that no table has is refused', async () => {
  await expect(readTableFile(chunked(stream), { order: 37 })).rejects.toThrow(RangeError);
});

test('a stream whose table is not whole gives none', async () => {
  const part = nextPart(HTAB, records(record(0, 1)));
  const open = streamOf([startPart(HTAB, 'spapr/htab', u32(18)), part]);
  await expect(readTableFile(chunked(open))).rejects.toMatchObject({ section: 'spapr/htab' });
  await expect(readTableFile(chunked(fixture('qemu-10.0.2-radix-1g')))).rejects.toThrow(/uses radix/);
});

test("the table of a QEMU guest goes through a snapshot into a VM, and is the stream's", async () => {
  const { table } = await readQemuStream(chunked(fixture('qemu-10.0.2-p9hash-1g')));
  const path = scratch('guest.hpt');
  const info = await writeTable(table!, path, undefined);
  expect(info).toMatchObject({ order: 23, validEntries: 17_240, quiescent: true, backend: 'image' });
  expect((await readSnapshot(path)).info).toEqual(info);
  const loaded = await loadSnapshot(path, new EmulatedVm(), { readBack: true });
  expect(loaded.digest).toBe(digestTable(table!));
});
