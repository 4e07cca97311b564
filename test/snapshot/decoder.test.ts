import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareTables } from '../../lib/hpt/compare.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { decodeSnapshot, snapshotBytes } from './support.js';
import { smallTable, frame, forge, refusalOf, bytes, offsets, frames } from './small-snapshot.js';

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
});
