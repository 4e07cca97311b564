import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptTable } from '../../lib/hpt/table.js';
import { decodeSnapshot, frameOffsets, snapshotBytes } from './support.js';

/** Three entries of a table of order 18: v, r. */
function smallTable(): HptTable {
  const table = new HptTable(18);
  table.set(0, 0x4000_0000_0000_0041n, 0x1190n);
  table.set(1, 0x41n, 0x2190n);
  table.set(16_383, 0x51n, 0x190n);
  return table;
}

const frame = (header: string, payload: string): Buffer =>
  Buffer.concat([Buffer.from(header.replaceAll(' ', ''), 'hex'), Buffer.from(payload)]);

/** A frame of any type and payload, with a right CRC. */
function forge(type: number, sequence: number, payload: string | Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt16BE(0x4b53, 0);
  header.writeUInt8(type, 2);
  header.writeUInt32BE(Buffer.byteLength(payload), 4);
  header.writeUInt32BE(sequence, 8);
  header.writeUInt32BE(crc32(payload, crc32(header.subarray(0, 12))), 12);
  return Buffer.concat([header, Buffer.from(payload as string)]);
}

function refusalOf(bytes: Buffer): HtabFormatError {
  try {
    decodeSnapshot(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(HtabFormatError);
    return error as HtabFormatError;
  }
  throw new Error('it was not refused');
}

let bytes: Buffer;
let offsets: number[];
/** The small table's snapshot, frame by frame: header, records, pass, pass, end. */
let frames: Buffer[];

beforeAll(async () => {
  bytes = await snapshotBytes(smallTable());
  offsets = frameOffsets(bytes);
  frames = offsets.slice(0, -1).map((offset, k) => bytes.subarray(offset, offsets[k + 1]));
});

describe('SnapshotDecoder', () => {
  test('reads the bytes of format version 1, which stay as they are', () => {
    const records =
      '00000000 0200fd3f 4000000000000041 0000000000001190 0000000000000041 0000000000002190' +
      'ff3f0000 01000000 0000000000000051 0000000000000190';
    const digest = digestTable(smallTable());
    expect(bytes.toString('latin1')).toBe(
      Buffer.concat([
        frame(
          '4b53 01 00 0000006d 00000000 7edb41ce',
          '{"format":"kvm-htab snapshot","version":1,"order":18,"headerByteOrder":"LE","backend":"emulated","host":null}',
        ),
        frame('4b53 02 00 00000040 00000001 8519018d', ''),
        Buffer.from(records.replaceAll(' ', ''), 'hex'),
        frame(
          '4b53 03 00 0000003d 00000002 d1cfe8c3',
          '{"pass":1,"validEntries":3,"invalidEntries":16381,"bytes":64}',
        ),
        frame(
          '4b53 03 00 00000038 00000003 eab34bf4',
          '{"pass":2,"validEntries":0,"invalidEntries":0,"bytes":0}',
        ),
        frame(
          '4b53 04 00 0000007a 00000004 7b82b51f',
          `{"passes":2,"validEntries":3,"digest":"${digest}","quiescent":true}`,
        ),
      ]).toString('latin1'),
    );
  });

  test('gives the table that was saved, and its description', () => {
    const { table, info } = decodeSnapshot(bytes);
    expect(compareTables(table, smallTable())).toEqual({ count: 0, ptexes: [] });
    expect(table.get(1)).toEqual({ v: 0x41n, r: 0x2190n });
    expect(info).toEqual({
      order: 18,
      headerByteOrder: 'LE',
      backend: 'emulated',
      host: null,
      passes: [
        { validEntries: 3, invalidEntries: 16_381, bytes: 64 },
        { validEntries: 0, invalidEntries: 0, bytes: 0 },
      ],
      validEntries: 3,
      digest: digestTable(smallTable()),
      quiescent: true,
      fileBytes: bytes.length,
    });
  });

  test('reads big-endian headers, and ignores unknown fields', () => {
    const records = Buffer.from(frames[1]!.subarray(16));
    for (const at of [0, 40]) {
      records.subarray(at, at + 4).reverse();
      records.subarray(at + 4, at + 6).reverse();
      records.subarray(at + 6, at + 8).reverse();
    }
    const header =
      '{"format":"kvm-htab snapshot","version":1,"order":18,"headerByteOrder":"BE","backend":"kvm","host":"power8","vm":7}';
    const { table, info } = decodeSnapshot(
      Buffer.concat([forge(1, 0, header), forge(2, 1, records), ...frames.slice(2)]),
    );
    expect(digestTable(table)).toBe(digestTable(smallTable()));
    expect(info).toMatchObject({ headerByteOrder: 'BE', backend: 'kvm', host: 'power8' });
    expect(info).not.toHaveProperty('vm');
  });

  test('refuses a snapshot with any bit changed, and names the frame of the bit', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const frameOffset = offsets.findLast((offset) => offset <= bit >> 3);
      expect(refusalOf(damaged).byteOffset, `bit ${bit}`).toBe(frameOffset);
    }
  });

  test('refuses a snapshot with any other value in any byte', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const damaged = Buffer.from(bytes);
        damaged[at]! ^= mask;
        expect(refusalOf(damaged).byteOffset).toBe(offsets.findLast((offset) => offset <= at));
      }),
      { numRuns: 2000 },
    );
  });

  test('refuses a snapshot cut anywhere, and names the missing or incomplete frame', () => {
    for (let length = 0; length < bytes.length; length++) {
      const { byteOffset, message } = refusalOf(bytes.subarray(0, length));
      const frameOffset = offsets.findLast((offset) => offset <= length);
      expect(byteOffset, `cut at ${length}`).toBe(frameOffset);
      if (length === 0) expect(message).toContain('it is empty');
      else if (length === frameOffset)
        expect(message).toContain(`ends after ${offsets.indexOf(length)} frames`);
      else expect(message).toContain(`it ends at byte ${length}, inside frame`);
    }
  });

  test.each([1, 15, 16, 17, 492])('refuses a snapshot with %i bytes after its end', (length) => {
    for (const more of [Buffer.alloc(length), Buffer.concat([bytes, bytes]).subarray(0, length)]) {
      const refusal = refusalOf(Buffer.concat([bytes, more]));
      expect(refusal.message).toContain('data follows the end of the snapshot');
      expect(refusal.byteOffset).toBe(bytes.length);
    }
  });

  test('refuses frames in any other order, missing frames and repeated ones', () => {
    const orders = fc.array(fc.nat(frames.length - 1), { minLength: 1, maxLength: frames.length + 1 });
    fc.assert(
      fc.property(orders, (order) => {
        fc.pre(order.length !== frames.length || order.some((frame, place) => frame !== place));
        const first = order.findIndex((frame, place) => frame !== place);
        const wrong = first === -1 ? order.length : first;
        const { byteOffset } = refusalOf(Buffer.concat(order.map((k) => frames[k]!)));
        expect(byteOffset).toBe(offsets[Math.min(wrong, frames.length)]);
      }),
      { numRuns: 1000 },
    );
  });

  test('refuses a frame of another snapshot', async () => {
    const table = smallTable();
    table.set(1, 0x41n, 0x3190n);
    const other = await snapshotBytes(table);
    const mixed = Buffer.concat([frames[0]!, other.subarray(offsets[1], offsets[2]), ...frames.slice(2)]);
    const { message, byteOffset } = refusalOf(mixed);
    expect(message).toContain(`its records give 3 valid entries with digest ${digestTable(table)}`);
    expect(byteOffset).toBe(offsets[4]);
  });

  test('gives the place in the file of an invalid record, also in a later pass', () => {
    // Entry 5 without its V bit, behind a record that is right.
    const records = Buffer.from(
      '0300000001000000 0000000000000041 0000000000000190 0500000001000000 0000000000000040 0000000000000190'.replaceAll(
        ' ',
        '',
      ),
      'hex',
    );
    const file = Buffer.concat([...frames.slice(0, 3), forge(2, 3, records)]);
    expect(refusalOf(file)).toMatchObject({
      byteOffset: offsets[3]! + 16 + 24 + 8,
      recordIndex: 2 + 1,
      ptex: 5,
      cause: expect.objectContaining({ byteOffset: 32, recordIndex: 1 }) as unknown,
    });
    const twice = Buffer.concat([
      ...frames.slice(0, 3),
      forge(2, 3, records.subarray(0, 24)),
      forge(2, 4, records.subarray(24)),
    ]);
    expect(refusalOf(twice)).toMatchObject({
      byteOffset: offsets[3]! + 16 + 24 + 16 + 8,
      recordIndex: 3,
      ptex: 5,
    });
  });

  test('refuses a record that its frame cuts, that ends beyond the table, or that goes back', () => {
    const record = '0300000001000000 0000000000000041 0000000000000190'.replaceAll(' ', '');
    const within = (hex: string): HtabFormatError =>
      refusalOf(Buffer.concat([...frames.slice(0, 3), forge(2, 3, Buffer.from(hex, 'hex'))]));
    expect(within(record.slice(0, -2)).recordIndex).toBe(2);
    expect(within('ff3f000000000200')).toMatchObject({ recordIndex: 2, ptex: 16_383 });
    expect(within(record + record)).toMatchObject({ recordIndex: 3, byteOffset: offsets[3]! + 16 + 24 });
  });

  test.each([
    ['', 'does not say "kvm-htab snapshot"'],
    ['[]', 'does not say "kvm-htab snapshot"'],
    [
      '{"format":"kvm-htab snapshot","version":2,"shape":"new"}',
      'it has version 2; only version 1 is supported',
    ],
    ['{"format":"kvm-htab snapshot"}', 'it has version null'],
    [
      '{"format":"kvm-htab snapshot","version":1,"order":17,"headerByteOrder":"LE","backend":"kvm","host":null}',
      'lacks a valid "order"',
    ],
    [
      '{"format":"kvm-htab snapshot","version":1,"order":37,"headerByteOrder":"LE","backend":"kvm","host":null}',
      'lacks a valid "order"',
    ],
    [
      '{"format":"kvm-htab snapshot","version":1,"order":18,"headerByteOrder":"XE","backend":"kvm","host":null}',
      'lacks a valid "headerByteOrder"',
    ],
    [
      '{"format":"kvm-htab snapshot","version":1,"order":18,"headerByteOrder":"LE","backend":"qemu","host":null}',
      'lacks a valid "backend"',
    ],
    [
      '{"format":"kvm-htab snapshot","version":1,"order":18,"headerByteOrder":"LE","backend":"kvm"}',
      'lacks a valid "host"',
    ],
  ])('refuses header %s', (header, message) => {
    expect(refusalOf(forge(1, 0, header)).message).toContain(message);
  });

  test('refuses counts that differ from those of the records', () => {
    const pass = (text: string): HtabFormatError =>
      refusalOf(Buffer.concat([...frames.slice(0, 2), forge(3, 2, text)]));
    for (const text of [
      '{"pass":2,"validEntries":3,"invalidEntries":16381,"bytes":64}',
      '{"pass":1,"validEntries":4,"invalidEntries":16381,"bytes":64}',
      '{"pass":1,"validEntries":3,"invalidEntries":16380,"bytes":64}',
      '{"pass":1,"validEntries":3,"invalidEntries":16381,"bytes":65}',
    ]) {
      expect(pass(text).message).toContain('pass 1 has 3 and 16381 in 64');
    }
    const end = (text: string): HtabFormatError =>
      refusalOf(Buffer.concat([...frames.slice(0, 4), forge(4, 4, text)]));
    const digest = digestTable(smallTable());
    expect(end(`{"passes":1,"validEntries":3,"digest":"${digest}","quiescent":true}`).message).toContain(
      '1 passes',
    );
    expect(end(`{"passes":2,"validEntries":2,"digest":"${digest}","quiescent":true}`).message).toContain(
      'claims 2',
    );
    expect(
      end(`{"passes":2,"validEntries":3,"digest":"${'0'.repeat(64)}","quiescent":true}`).message,
    ).toContain('claims 3 with digest 000');
    expect(end(`{"passes":2,"validEntries":3,"digest":"${digest}"}`).message).toContain('"quiescent"');
  });

  test('refuses an incomplete first pass, an end inside a pass, and an end that contradicts the records', () => {
    const few = forge(2, 1, frames[1]!.subarray(16, 56));
    expect(
      refusalOf(
        Buffer.concat([
          frames[0]!,
          few,
          forge(3, 2, '{"pass":1,"validEntries":2,"invalidEntries":16381,"bytes":40}'),
        ]),
      ).message,
    ).toContain("the first pass named 16383 of the table's 16384 entries");
    const end = `{"passes":1,"validEntries":3,"digest":"${digestTable(smallTable())}","quiescent":true}`;
    expect(refusalOf(Buffer.concat([...frames.slice(0, 2), forge(4, 2, end)])).message).toContain(
      'ends inside pass 1',
    );
    expect(refusalOf(Buffer.concat([...frames.slice(0, 3), forge(4, 3, end)])).message).toContain(
      'but that pass has records',
    );
    expect(refusalOf(Buffer.concat([frames[0]!, forge(4, 1, end)])).message).toContain('ends inside pass 1');
  });
});
