import { expect, test } from 'vitest';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import {
  HTAB,
  RAM,
  capabilities,
  command,
  configuration,
  device,
  endPart,
  header,
  hpte,
  htabOf,
  name,
  nextPart,
  ramBlock,
  record,
  records,
  startPart,
  streamOf,
  subsection,
  u32,
  u64,
} from '../stream-writer.js';
import { chunked } from '../support.js';

const good = streamOf(htabOf(record(8, 2)));
const withRam = (...ram: Buffer[]): Buffer =>
  streamOf(htabOf(), { ram: [startPart(RAM, 'ram', ramBlock(65_536), 4), ...ram] });
const page = (flags: number, ...rest: Buffer[]): Buffer =>
  nextPart(RAM, Buffer.concat([u64(0x1000 + flags), ...rest, u64(0x10)]));

/** What is refused, in which section, and words of the message. */
const REFUSED: Readonly<Record<string, readonly [stream: Buffer, section: string, message: RegExp]>> = {
  'another file': [Buffer.from('#!/bin/sh\nexit\n'), 'header', /not a migration stream/],
  'another version': [Buffer.concat([Buffer.from('QEVM'), u32(2)]), 'header', /version 2/],
  nothing: [Buffer.alloc(0), 'header', /not a migration stream of QEMU: it has 0 bytes/],
  'a byte that begins no section': [Buffer.concat([header, Buffer.of(9)]), 'header', /0x9 begins no section/],
  'a long machine name': [Buffer.concat([header, Buffer.of(7), u32(1 << 20)]), 'configuration', /1048576/],
  'many capabilities': [
    Buffer.concat([header, configuration('m', subsection('configuration/capabilities', u32(2 ** 31)))]),
    'configuration',
    /2147483648 capabilities/,
  ],
  'an unknown subsection': [
    Buffer.concat([header, configuration('m', subsection('configuration/new', u32(0)))]),
    'configuration',
    /"configuration\/new", version 1, is not known/,
  ],
  'huge pages': [
    Buffer.concat([header, configuration('m', subsection('configuration/target-page-bits', u32(40)))]),
    'configuration',
    /2\^40/,
  ],
  postcopy: [Buffer.concat([header, command(4)]), 'command', /4 \(postcopy-listen\)/],
  'a package': [Buffer.concat([header, command(7, u32(9))]), 'command', /without postcopy/],
  'an unknown command': [Buffer.concat([header, command(500)]), 'command', /command 500/],
  'a part of no section': [
    Buffer.concat([header, nextPart(77, records())]),
    'between sections',
    /77 has not/,
  ],
  'a section twice': [
    streamOf([...htabOf(), device(HTAB, 'rtc', u32(1))]),
    'between sections',
    /begins twice/,
  ],
  'another version of the table': [
    streamOf([startPart(HTAB, 'spapr/htab', u32(18), 2)]),
    'between sections',
    /version 2/,
  ],
  'the footer of another section': [
    streamOf([startPart(HTAB, 'spapr/htab', u32(18)).subarray(0, -1), Buffer.of(9)]),
    'spapr/htab',
    /footer is that of section 9/,
  ],
  'an order that no table has': [
    streamOf([startPart(HTAB, 'spapr/htab', u32(47))]),
    'spapr/htab',
    /order 47/,
  ],
  'an order that records cannot address': [
    streamOf([startPart(HTAB, 'spapr/htab', u32(37))]),
    'spapr/htab',
    /18 to 36/,
  ],
  'records before an order': [
    streamOf([startPart(HTAB, 'spapr/htab', records())]),
    'spapr/htab',
    /before the order/,
  ],
  'records without a table': [
    streamOf([startPart(HTAB, 'spapr/htab', u32(-1)), endPart(HTAB, records(record(1, 1)))]),
    'spapr/htab',
    /without a table/,
  ],
  'a record of nothing': [streamOf(htabOf(record(7, 0))), 'spapr/htab', /invalid record/],
  'an invalid entry that is called valid': [
    streamOf(htabOf(record(3, 1), record(4, hpte().fill(0)))),
    'spapr/htab',
    /invalid record/,
  ],
  'memory by RDMA': [withRam(page(0x80)), 'ram', /RDMA/],
  'unknown flags of a page': [withRam(page(0x401)), 'ram', /0x401/],
  'a difference that is too long': [withRam(page(0x60, Buffer.of(1, 0x10, 1))), 'ram', /4097 bytes/],
  'a compressed page that is too long': [withRam(page(0x120, u32(2 ** 31))), 'ram', /2147483648 bytes/],
  'a block larger than all memory': [
    streamOf([], { ram: [startPart(RAM, 'ram', Buffer.concat([u64(4096 + 4), name('a'), u64(8192)]), 4)] }),
    'ram',
    /8192 bytes, and 4096 are left/,
  ],
  'more memory than there can be': [
    streamOf([], {
      ram: [startPart(RAM, 'ram', Buffer.concat([u64(4096 + 4), name('a'), Buffer.alloc(8, 255)]), 4)],
    }),
    'ram',
    /beyond 2\^53/,
  ],
  'mapped pages that lie behind': [
    streamOf([], {
      config: configuration('m', capabilities('mapped-ram')),
      ram: [startPart(RAM, 'ram', ramBlock(4096, u32(1), u64(4096), u64(10), u64(20)), 4)],
    }),
    'ram',
    /has passed/,
  ],
  'a long description': [
    streamOf(htabOf(), { tail: Buffer.concat([Buffer.of(0, 6), u32(2 ** 31)]) }),
    'description',
    /2147483648 bytes/,
  ],
};

test.each(Object.entries(REFUSED))(
  '%s is refused, with section and offset',
  async (_, [stream, section, message]) => {
    for (const chunkBytes of [1, 7, 1 << 20]) {
      const error: unknown = await readQemuStream(chunked(stream, chunkBytes)).catch((each: unknown) => each);
      expect(error).toMatchObject({
        code: 'ERR_HTAB_FORMAT',
        section,
        message: expect.stringMatching(message) as string,
      });
      const { byteOffset } = error as { byteOffset: number };
      expect(byteOffset).toBeGreaterThanOrEqual(0);
      expect(byteOffset).toBeLessThanOrEqual(stream.length);
    }
  },
);

test('the place of an invalid entry is that of its bytes in the stream', async () => {
  const stream = streamOf(htabOf(record(3, 1), record(8, 2), record(40, hpte().fill(0))));
  await expect(readQemuStream(chunked(stream, 100))).rejects.toMatchObject({
    byteOffset: stream.indexOf(u32(40)) + 8,
    recordIndex: 2,
    ptex: 40,
  });
});

test('a stream that is cut anywhere is refused, or lacks only its description', async () => {
  for (let length = 0; length < good.length; length++) {
    const found = await readQemuStream(chunked(good.subarray(0, length), 1000)).catch(
      (each: unknown) => each,
    );
    const { code, byteOffset, findings } = found as {
      code?: string;
      byteOffset?: number;
      findings?: { kind: string }[];
    };
    if (findings === undefined) expect([code, byteOffset! <= length]).toEqual(['ERR_HTAB_FORMAT', true]);
    else expect(findings.map(({ kind }) => kind)).toEqual(['no-description']);
  }
});

test('what follows the stream is counted, and not read', async () => {
  expect(await readQemuStream(chunked(Buffer.concat([good, Buffer.alloc(999)]), 50))).toMatchObject({
    streamBytes: good.length,
    trailingBytes: 999,
    findings: [],
  });
});
