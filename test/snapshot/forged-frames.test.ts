import { describe, expect, test } from 'vitest';
import type { HtabFormatError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { smallTable, forge, refusalOf, offsets, frames } from './small-snapshot.js';

describe('SnapshotDecoder', () => {
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
