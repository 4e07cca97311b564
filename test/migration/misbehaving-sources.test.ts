import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabFormatError, type HtabError } from '../../lib/base/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { Message } from '../../lib/migration/wire/messages.js';
import { encodeFrame, hello } from '../../lib/migration/wire/protocol.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { linkStreams } from './harness/linked-streams.js';
import { ORDER, reasonOf, settleInFakeTime, useFakeTime } from './harness/test-guest.js';

const data = (hex: string): Message => ({
  type: 'data',
  records: Buffer.from(hex.replaceAll(' ', ''), 'hex'),
});

const DIGEST = '00'.repeat(32);
const HELLO = hello({
  migrationId: 'test',
  attempt: 1,
  order: ORDER,
  headerByteOrder: 'LE',
  backend: 'emulated',
  host: 'power8',
});
const BEGIN: Message = { type: 'pass-begin', pass: 1 };
const END = { type: 'pass-end', pass: 1, validEntries: 0, invalidEntries: 0, bytes: 0 } as const;
/** A pass that names every entry of the table, as valid only the first. */
const WHOLE: Message[] = [
  BEGIN,
  data('00000000 0100 ff3f 0000000000000051 0000000000000190'),
  { type: 'pass-end', pass: 1, validEntries: 1, invalidEntries: 16_383, bytes: 24 },
];
/** Passes after {@link WHOLE} without an entry. */
function emptyPasses(count: number): Message[] {
  return Array.from({ length: count }, (_, index) => index + 2).flatMap((pass) => [
    { type: 'pass-begin', pass },
    { ...END, pass },
  ]);
}
const PREPARE: Message = { type: 'prepare', digest: DIGEST, validEntries: 0 };

/** Sends these messages with their right sequence numbers, whatever the other side says; it is not read, only drained. */
function say(channel: Duplex, messages: readonly Message[]): void {
  channel.on('error', () => undefined);
  channel.resume();
  for (const [sequence, message] of messages.entries()) {
    const { header, payload } = encodeFrame(message, sequence);
    channel.write(Buffer.concat([header, payload]));
  }
}

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a destination', () => {
  async function refusal(messages: readonly Message[]): Promise<{ error: HtabError; target: EmulatedVm }> {
    const [source, channel] = linkStreams();
    const target = new EmulatedVm();
    const receiving = Promise.allSettled([receiveHpt(target, channel)]);
    say(source, messages);
    const [received] = await settleInFakeTime(receiving);
    expect(channel.destroyed).toBe(true);
    expect(target.table?.validCount ?? 0).toBe(0);
    return { error: reasonOf(received) as HtabError, target };
  }

  test.each<[string, Message[], string]>([
    [
      'begins with anything but hello',
      [BEGIN],
      'the source sent pass-begin of pass 1 where hello or ask was due',
    ],
    [
      'sends headers in big-endian order',
      [{ ...HELLO, headerByteOrder: 'BE' }],
      'record headers in BE byte order',
    ],
    ['says hello twice', [HELLO, HELLO], 'the source sent hello where pass-begin of pass 1 was due'],
    [
      'skips a pass',
      [HELLO, { ...BEGIN, pass: 2 }],
      'the source sent pass-begin of pass 2 where pass-begin of pass 1 was due',
    ],
    [
      'sends data outside a pass',
      [HELLO, data('')],
      'the source sent data where pass-begin of pass 1 was due',
    ],
    [
      'prepares without any pass',
      [HELLO, PREPARE],
      'the source sent prepare where pass-begin of pass 1 was due',
    ],
    [
      'prepares within a pass',
      [HELLO, BEGIN, PREPARE],
      'the source sent prepare where data or pass-end was due',
    ],
    [
      'sends data without a record',
      [HELLO, BEGIN, data('')],
      'the source sent a data frame without a record',
    ],
    [
      'makes empty passes for ever',
      [HELLO, ...WHOLE, ...emptyPasses(1025)],
      'the source made 1025 passes in a row without an entry, and did not finish; at most 1024 are accepted',
    ],
    [
      'has another digest after as many empty passes as are taken',
      [HELLO, ...WHOLE, ...emptyPasses(1024), PREPARE],
      'the table received is not the one sent: it has 1 valid entries',
    ],
    [
      'commits within a pass',
      [HELLO, BEGIN, { type: 'commit' }],
      'the source sent commit where data or pass-end was due',
    ],
    [
      'commits unprepared',
      [HELLO, ...WHOLE, { type: 'commit' }],
      'the source sent commit where pass-begin of pass 2 was due',
    ],
    [
      'ends another pass',
      [HELLO, BEGIN, { ...END, pass: 2 }],
      'the source says that pass 2 had 0 valid and 0 invalid',
    ],
    [
      'counts wrongly',
      [HELLO, BEGIN, data('0700000000000300'), { ...END, invalidEntries: 2, bytes: 8 }],
      'the source says that pass 1 had 0 valid and 2 invalid entries in 8 bytes; pass 1 had 0 valid and 3 invalid',
    ],
    [
      'has another digest',
      [HELLO, ...WHOLE, PREPARE],
      'the table received is not the one sent: it has 1 valid entries',
    ],
    [
      'gives up',
      [
        HELLO,
        BEGIN,
        { type: 'abort', code: 'x', reason: 'tired\u001b[2J\u2028\u202eof\ud800it', retry: false },
      ],
      'the source reports: tired\\u001b[2J\\u2028\\u202eof\\ud800it',
    ],
    [
      'gives up at length',
      [HELLO, BEGIN, { type: 'abort', code: 'x', reason: 'tired '.repeat(170), retry: false }],
      `the source reports: ${'tired '.repeat(84).slice(0, 500).trim()}`,
    ],
  ])('gives up on a source that %s', async (_, messages, message) => {
    const { error } = await refusal(messages);
    expect(error.message).toContain(message);
    expect(['ERR_HTAB_MIGRATION', 'ERR_HTAB_VERIFY']).toContain(error.code);
  });

  test.each<[string, string, string]>([
    ['beyond the table', 'ff3f0000 0000 0200', 'ptex'],
    ['that wrap', 'f8ffffff 0000 1000', 'ptex'],
    ['without V', '00000000 0100 0000 0000000000000050 0000000000000190', 'ptex'],
    ['of a reserved segment', '00000000 0100 0000 8000000000000051 0000000000000190', 'ptex'],
    ['of a page size that is none', '00000000 0100 0000 0000000000000055 0000000000055190', 'ptex'],
    ['cut short', '00000000 0200 0000 0000000000000051 0000000000000190', 'recordIndex'],
    ['with nothing in them', '00000000 0000 0000', 'recordIndex'],
    ['out of order', '0500000000000100 0400000000000100', 'recordIndex'],
  ])('refuses records %s before the target sees them', async (_, records, field) => {
    const writes: number[] = [];
    const [source, channel] = linkStreams();
    const target = new EmulatedVm();
    const open = target.openHtab.bind(target);
    target.openHtab = async (options) => {
      const handle = await open(options);
      handle.writeRecords = (bytes) => {
        writes.push(bytes.length);
        return Promise.resolve(bytes.length);
      };
      return handle;
    };
    const receiving = Promise.allSettled([receiveHpt(target, channel)]);
    say(source, [HELLO, BEGIN, data(records)]);
    const [received] = await settleInFakeTime(receiving);
    expect(reasonOf(received)).toBeInstanceOf(HtabFormatError);
    expect((reasonOf(received) as HtabFormatError)[field as 'ptex' | 'recordIndex']).toBeTypeOf('number');
    expect(writes).toEqual([]);
  });

  test('waits as long as a heartbeat comes, and no longer', async () => {
    const [source, channel] = linkStreams();
    const receiving = Promise.allSettled([receiveHpt(new EmulatedVm(), channel, { timeoutMs: 30_000 })]);
    say(source, [HELLO]);
    for (let sequence = 1; sequence <= 10; sequence++) {
      await vi.advanceTimersByTimeAsync(29_000);
      expect(channel.destroyed).toBe(false);
      const { header, payload } = encodeFrame({ type: 'heartbeat' }, sequence);
      source.write(Buffer.concat([header, payload]));
    }
    await vi.advanceTimersByTimeAsync(29_000);
    expect(channel.destroyed).toBe(false);
    const [received] = await settleInFakeTime(receiving);
    expect((reasonOf(received) as Error).message).toBe('no data from the source for 30000 ms');
  });

  test.each([
    ['lost', [0, 2]],
    ['sent twice', [0, 0]],
    ['late', [1, 0]],
  ])('gives up when a frame is %s', async (_, sequences) => {
    const [source, channel] = linkStreams();
    const receiving = Promise.allSettled([receiveHpt(new EmulatedVm(), channel)]);
    say(source, []);
    for (const sequence of sequences) {
      const { header, payload } = encodeFrame(HELLO, sequence);
      source.write(Buffer.concat([header, payload]));
    }
    const [received] = await settleInFakeTime(receiving);
    expect((reasonOf(received) as Error).message).toMatch(/frame \d \(hello\) stands where frame \d is due$/);
  });
});
