import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { HptTable } from '../../../lib/hpt/table.js';
import type { QemuPart } from '../../../lib/qemu/stream/layout.js';
import { QemuStreamParser } from '../../../lib/qemu/stream/parser.js';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { chunked, expected, fixture } from '../support.js';

const streams = Object.entries(expected);

function imageSha256(table: HptTable | undefined): string {
  const image = Buffer.alloc(table === undefined ? 0 : table.entryCount * 16);
  for (const [ptex, { v, r }] of table ?? []) {
    image.writeBigUInt64BE(v, ptex * 16);
    image.writeBigUInt64BE(r, ptex * 16 + 8);
  }
  return createHash('sha256').update(image).digest('hex');
}

test('the fixtures have the entries that are known of them', () => {
  const entries = (kvm: boolean): number =>
    streams
      .filter(([name]) => name.includes('-kvm-') === kvm)
      .reduce((sum, [, each]) => sum + each.validEntries, 0);
  expect([entries(false), entries(true)]).toEqual([52_078, 131_515]);
});

describe.each(streams)(
  'the stream %s',
  (name, { machine, order, validEntries, streamBytes, parts, ...rest }) => {
    test.each([65_536, 1021, 4_194_304])('gives its table, in chunks of %i bytes', async (chunkBytes) => {
      const stream = await readQemuStream(chunked(fixture(name), chunkBytes));
      expect(imageSha256(stream.table)).toBe(rest.imageSha256);
      expect(stream).toMatchObject({ machine, streamBytes, trailingBytes: 0, libvirt: undefined });
      expect([stream.table?.order ?? null, stream.table?.validCount ?? 0]).toEqual([order, validEntries]);
      expect(stream.findings.map(({ kind }) => kind)).toEqual(order === null ? ['radix'] : []);
      expect(stream.sound).toBe(order !== null);
    });

    test('has the records that another parser counted', async () => {
      const sum = (column: 1 | 2 | 3 | 4): number => parts.reduce((total, part) => total + part[column], 0);
      const { records, sections } = await readQemuStream(chunked(fixture(name)));
      expect(records).toMatchObject({ records: sum(2), validEntries: sum(3), invalidEntries: sum(4) });
      const htab = sections.find((section) => section.name === 'spapr/htab')!;
      // Without headers and footers: 14 bytes and the name for the first part, 5 for the others, and 5.
      expect(htab).toMatchObject({ parts: parts.length, bytes: sum(1) - 19 - 10 - (parts.length - 1) * 10 });
      expect(sections.every(({ complete }) => complete)).toBe(true);
    });

    test('shows each part of the table where it begins and ends', () => {
      const seen: QemuPart[] = [];
      const parser = new QemuStreamParser({
        onPart: (part) => {
          if (part.section.name === 'spapr/htab') seen.push(part);
        },
      });
      parser.push(fixture(name));
      parser.finish();
      expect(
        seen.map(({ type, payloadOffset, payloadEnd }, k) => [
          type,
          payloadEnd - payloadOffset + (k === 0 ? 19 + 10 : 10),
        ]),
      ).toEqual(parts.map(([type, bytes]) => [type, bytes]));
    });
  },
);
