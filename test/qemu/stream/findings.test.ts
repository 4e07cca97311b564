import { describe, expect, test } from 'vitest';
import type { QemuFindingKind } from '../../../lib/qemu/stream/findings.js';
import { type QemuStream, readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import {
  HTAB,
  configuration,
  description,
  device,
  endPart,
  header,
  hpte,
  htabOf,
  nextPart,
  record,
  records,
  startPart,
  streamOf,
  u32,
} from '../stream-writer.js';
import { chunked } from '../support.js';

const ENTRIES = 16_384;

/** Read whole and in small chunks: the same must come of both. */
async function read(stream: Buffer): Promise<QemuStream> {
  const whole = await readQemuStream(chunked(stream, stream.length));
  const { table, ...small } = await readQemuStream(chunked(stream, 3));
  expect(whole).toMatchObject(small);
  expect(table?.validCount).toBe(whole.table?.validCount);
  return whole;
}

/** A stream's one finding. */
async function findingOf(stream: Buffer): Promise<QemuStream['findings'][number] & { sound: boolean }> {
  const { findings, sound } = await read(stream);
  expect(findings.length).toBe(1);
  return { ...findings[0]!, sound };
}

/** An entry for the page that hashes to group 0, in its primary group or the secondary one. */
function pageZero(secondary = false): Buffer {
  const bytes = hpte(0);
  bytes.writeUInt32BE(secondary ? 3 : 1, 4);
  bytes.writeUInt32BE(0, 0);
  return bytes;
}

test('a stream that is right has no finding', async () => {
  const stream = await read(streamOf(htabOf(record(8, 3, 2), record(0, 1))));
  expect(stream).toMatchObject({ findings: [], sound: true, machine: 'pseries-10.0' });
  expect(stream.table!.validCount).toBe(4);
  expect(stream.records).toEqual({
    records: 2,
    validEntries: 4,
    invalidEntries: 2,
    bytes: 80,
    longestRun: 3,
  });
  expect(stream.ram).toMatchObject({ blocks: [{ name: 'ppc_spapr.ram', bytes: 65_536 }], pages: 0 });
});

describe('the table', () => {
  test.each<[QemuFindingKind, boolean, Buffer[]]>([
    ['no-table', false, []],
    ['radix', false, [startPart(HTAB, 'spapr/htab', u32(-1)), endPart(HTAB, u32(-1))]],
    ['no-end', false, [startPart(HTAB, 'spapr/htab', u32(18)), nextPart(HTAB, records(record(0, 1)))]],
    ['resized', false, [...htabOf().slice(0, 1), nextPart(HTAB, u32(19)), ...htabOf().slice(1)]],
    ['announced-again', false, [...htabOf().slice(0, 1), nextPart(HTAB, u32(18)), ...htabOf().slice(1)]],
    ['late-table', false, [...htabOf(), endPart(HTAB, records(record(0, 1)))]],
    ['out-of-range', false, htabOf(record(ENTRIES, 1))],
    ['index-wraps', false, htabOf(record(0xffff_fff8, 0, 16))],
    ['index-wraps', false, htabOf(record(0xffff_ffff, 1))],
    ['out-of-range', false, htabOf(record(0xffff_fffe, 1))],
    ['long-record', true, htabOf(record(0, 128))],
  ])('%s is found', async (kind, sound, htab) => {
    expect(await findingOf(streamOf(htab))).toMatchObject({ kind, sound });
  });

  test('of a record that goes beyond its end, the finding tells the order it would need', async () => {
    const stream = streamOf(htabOf(record(0, 2), record(ENTRIES - 1, 0, 2), record(40_000, 1), record(9, 1)));
    const finding = await findingOf(stream);
    expect(finding).toMatchObject({ kind: 'out-of-range', count: 2, ptex: ENTRIES - 1 });
    expect(finding.message).toContain('A table of order 19 would hold it');
    expect(stream.readUInt32BE(finding.byteOffset)).toBe(ENTRIES - 1);
    // The records around them count.
    expect((await read(stream)).table!.validCount).toBe(3);
  });

  test('the last entry is no finding', async () => {
    expect((await read(streamOf(htabOf(record(ENTRIES - 2, 1, 1))))).findings).toEqual([]);
  });

  test('two entries for one page are found, also in the two groups of a page', async () => {
    const twice = record(0, Buffer.concat([pageZero(), pageZero()]));
    expect(await findingOf(streamOf(htabOf(twice)))).toMatchObject({ kind: 'double', ptex: 1, sound: true });
    const other = record(0x7ff * 8, pageZero(true));
    expect(await findingOf(streamOf(htabOf(record(0, pageZero()), other)))).toMatchObject({
      kind: 'double',
      ptex: 0x7ff * 8,
    });
  });

  test('an entry in a group that its page does not hash to is found', async () => {
    const bytes = hpte(0);
    // A 256 MiB segment of 64 KiB pages: only the low 12 bits of the page are left to the group.
    bytes.writeUInt32BE(5, 4);
    bytes.writeUInt32BE(0x1000 | 0x190, 12);
    const [first, far] = [record(0, bytes), record(1024 * 8, bytes)];
    const found = await read(streamOf(htabOf(first, far)));
    expect(found.findings.map(({ kind }) => kind)).toContain('misplaced');
    expect(found.sound).toBe(true);
  });
});

describe('the devices', () => {
  const timer = { name: 'timer', instance_id: 0 };
  const fields = [{ name: 'unused', size: 24, type: 'buffer' }];

  test.each<[QemuFindingKind, Buffer]>([
    ['no-description', Buffer.of(0)],
    ['no-description', Buffer.concat([Buffer.of(0, 6), u32(2), Buffer.from('{]')])],
    ['no-description', description([{ ...timer, name: { toString: 1 } }])],
    ['no-description', description([{ ...timer, instance_id: { valueOf: 1 } }])],
    ['undescribed', description([])],
    ['undescribed', description([{ ...timer, name: 'rtc', fields }])],
    ['undescribed', description([{ ...timer, instance_id: 1, fields }])],
    ['undescribed', description([{ ...timer, fields: [{ name: 'unused', size: 23 }] }])],
    [
      'undescribed',
      description([
        { ...timer, fields },
        { ...timer, fields },
      ]),
    ],
  ])('%s is found', async (kind, tail) => {
    expect(await findingOf(streamOf(htabOf(), { tail }))).toMatchObject({ kind, sound: true });
  });

  test('a footer in a payload, where nothing could follow it, does not end it', async () => {
    const payload = Buffer.concat([
      Buffer.of(0x7e, 0, 0, 0, 9, 4, 1),
      Buffer.of(0x7e),
      Buffer.of(0x7e, 0, 0, 0, 9),
    ]);
    const stream = Buffer.concat([
      streamOf(htabOf(), { tail: device(9, 'nvram', payload) }),
      description([
        { ...timer, fields },
        { name: 'nvram', instance_id: 0, fields: [{ size: payload.length }] },
      ]),
    ]);
    expect((await read(stream)).findings).toEqual([]);
  });

  test('a table in the payload of a device, as a guest could forge, is found', async () => {
    const forged = Buffer.concat([Buffer.of(0x7e, 0, 0, 0, 9), endPart(HTAB, records(record(0, 5)))]);
    const found = await read(
      Buffer.concat([
        streamOf(htabOf(), { tail: device(9, 'nvram', forged) }),
        description([
          { ...timer, fields },
          { name: 'nvram', instance_id: 0, fields: [{ size: forged.length }] },
        ]),
      ]).subarray(0),
    ).catch((error: unknown) => error);
    expect(found).toMatchObject({ code: 'ERR_HTAB_FORMAT', section: 'spapr/htab' });
  });

  test('of a machine without footers the table is read, and no device', async () => {
    const bare = (part: Buffer): Buffer => part.subarray(0, -5);
    const stream = Buffer.concat([
      header,
      configuration('pseries-2.3'),
      ...htabOf(record(0, 2)).map(bare),
      bare(device(9, 'timer', Buffer.alloc(24))),
      Buffer.of(0),
    ]);
    const found = await read(stream);
    expect(found).toMatchObject({ sound: true, trailingBytes: 25 });
    expect(found.findings.map(({ kind }) => kind)).toEqual(['no-footer']);
    expect(found.table!.validCount).toBe(2);
  });
});
