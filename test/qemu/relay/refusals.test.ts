import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import { HptTable } from '../../../lib/hpt/table.js';
import type { RelayOptions } from '../../../lib/qemu/relay/relay-options.js';
import { readQemuStream } from '../../../lib/qemu/stream/read-qemu-stream.js';
import { scratchFiles } from '../../scratch.js';
import { chunked, fixture } from '../support.js';
import {
  PAGE,
  HTAB,
  RAM,
  RAM_END,
  command,
  configuration,
  device,
  endPart,
  header,
  htabOf,
  name,
  nextPart,
  ramBlock,
  record,
  records,
  startPart,
  streamOf,
  u32,
  u64,
} from '../stream-writer.js';
import { FakeSource, fakeTarget, startRelay } from './fake-qemus.js';

const scratch = scratchFiles();

/** What becomes of a stream that a relay is given, and how much of it the destination gets. */
async function relayed(
  stream: Buffer,
  options: RelayOptions = {},
  pieceBytes?: number,
): Promise<{ readonly error: unknown; readonly passed: Buffer; readonly closed: true }> {
  const target = await fakeTarget(scratch('b'));
  const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address, options);
  const source = new FakeSource(address);
  await source.send(stream, pieceBytes);
  source.socket.end();
  const error: unknown = await result.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await source.closed;
  // A destination that was never called has no connection to close.
  if (target.sockets.length === 0) target.server.close();
  await target.closed;
  return { error, passed: target.received(), closed: true };
}

const deviceAt = (stream: Buffer): number => stream.indexOf(Buffer.concat([u32(3), name('timer')])) - 1;
const htab = (...parts: Buffer[]): Buffer[] => [startPart(HTAB, 'spapr/htab', u32(18)), ...parts];
const FORMAT = 'ERR_HTAB_FORMAT';
const MIGRATION = 'ERR_HTAB_MIGRATION';

/** Streams that lose their guest, with the error and what its message has. */
const bad: Readonly<Record<string, [stream: Buffer, code: string, message: RegExp]>> = {
  'whose table lacks its last part': [
    streamOf(htab(nextPart(HTAB, records(record(0, 1))))),
    FORMAT,
    /last part .* missing/,
  ],
  'with an entry beyond the end, as after a grow': [
    streamOf(htabOf(record(16_384, 1))),
    FORMAT,
    /order 19 would hold it/,
  ],
  'with an index that wraps': [streamOf(htabOf(record(0xffff_fff8, 0, 16))), FORMAT, /crashes/],
  'whose order is announced again': [
    streamOf(htab(nextPart(HTAB, u32(18)), endPart(HTAB, records(record(0, 1))))),
    FORMAT,
    /announced again/,
  ],
  'whose order changes': [
    streamOf([...htab(nextPart(HTAB, u32(19))), endPart(HTAB, records(record(0, 1)))]),
    FORMAT,
    /19 after 18/,
  ],
  'without a table': [streamOf([]), FORMAT, /no page table/],
  'with an entry that is marked valid and is not': [
    streamOf(htabOf(record(0, Buffer.alloc(16)))),
    FORMAT,
    /invalid record/,
  ],
  'with an empty table': [streamOf(htabOf()), MIGRATION, /0 valid entries, fewer than 1/],
  'with records after the devices': [
    Buffer.concat([streamOf(htabOf(record(0, 1)), { tail: nextPart(HTAB, records(record(8, 1))) }), u32(0)]),
    FORMAT,
    /after its end/,
  ],
  'that enables postcopy': [
    Buffer.concat([
      header,
      configuration('pseries-10.0'),
      command(3),
      streamOf(htabOf(record(0, 1))).subarray(8),
    ]),
    MIGRATION,
    /postcopy-ram: .* switch it off \(migrate_set_capability postcopy-ram off\)/,
  ],
  'whose memory is compressed': [
    streamOf(htabOf(record(0, 1)), {
      ram: [
        startPart(RAM, 'ram', ramBlock(65_536), 4),
        endPart(RAM, Buffer.concat([u64(0x100), name('ram'), u32(5), Buffer.alloc(5), RAM_END])),
      ],
    }),
    MIGRATION,
    /with compress:/,
  ],
  'whose memory goes by multifd': [
    streamOf(htabOf(record(0, 1)), {
      ram: [startPart(RAM, 'ram', ramBlock(65_536), 4), endPart(RAM, Buffer.concat([u64(0x200), RAM_END]))],
    }),
    MIGRATION,
    /with multifd:/,
  ],
};

describe.each([undefined, 1, 37])('a stream in pieces of %s bytes', (pieceBytes) => {
  test.each(Object.keys(bad))('%s ends on both sides before its devices', async (title) => {
    const [stream, code, message] = bad[title]!;
    const { error, passed } = await relayed(stream, {}, pieceBytes);
    expect(error).toMatchObject({ code });
    expect(String(error)).toMatch(message);
    expect(stream.subarray(0, passed.length).equals(passed)).toBe(true);
    if (!title.includes('after the devices')) expect(passed.length).toBeLessThanOrEqual(deviceAt(stream));
    expect(passed.length).toBeLessThan(stream.length);
  });
});

test('memory passes at once, and of the devices no byte before the table is whole', async () => {
  const [before, timer] = [
    Buffer.concat([
      ...[header, configuration('pseries-10.0'), startPart(RAM, 'ram', ramBlock(65_536), 4)],
      ...[startPart(HTAB, 'spapr/htab', u32(18)), nextPart(RAM, Buffer.concat([PAGE, RAM_END]))],
    ]),
    device(3, 'timer', Buffer.alloc(24)),
  ];
  const target = await fakeTarget(scratch('b'));
  const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
  const source = new FakeSource(address);
  source.socket.write(before);
  while (target.received().length < before.length) await setImmediate();
  source.socket.write(timer);
  await expect(result).rejects.toMatchObject({
    code: FORMAT,
    section: 'spapr/htab',
    byteOffset: before.length,
  });
  await target.closed;
  expect(target.received().equals(before)).toBe(true);
});

test('a table whose entries are hashed for another order is refused: its guest has resized it', async () => {
  const stream = Buffer.from(fixture('qemu-10.0.2-tcg-1g'));
  const order = stream.indexOf('spapr/htab') + 'spapr/htab'.length + 8;
  expect(stream.readUInt32BE(order)).toBe(23);
  stream.writeUInt32BE(24, order);
  const { error } = await relayed(stream);
  expect(error).toMatchObject({ code: FORMAT });
  expect(String(error)).toMatch(/entries stand where a table of order 24 has no place for them/);
});

test('a table must have the digest and the entries that are asked for', async () => {
  const stream = fixture('qemu-7.2.22-tcg-1g');
  const digest = digestTable((await readQemuStream(chunked(stream))).table!);
  expect((await relayed(stream, { expectDigest: digest, minEntries: 17_026 })).error).toBeUndefined();
  const few = await relayed(stream, { minEntries: 17_027 });
  expect(few.error).toMatchObject({ code: MIGRATION, option: 'minEntries' });
  const other = await relayed(stream, { expectDigest: digestTable(new HptTable(18)) });
  expect(other.error).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
  expect((await relayed(streamOf(htabOf()), { minEntries: 0 })).error).toBeUndefined();
  const radix = await relayed(fixture('qemu-10.0.2-radix-1g'), { expectDigest: digest });
  expect(radix.error).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
});

test('options that mean nothing are refused', async () => {
  for (const options of [{ minEntries: -1 }, { expectDigest: 'abc' }, { signals: 1 }]) {
    const { result } = await startRelay(`unix:${scratch('a')}`, 'unix:/nowhere', options);
    await expect(result).rejects.toThrow(/minEntries|expectDigest|signals/);
  }
});
