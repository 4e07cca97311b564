import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { DestinationRest } from '../../lib/migration/rest.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { Message } from '../../lib/migration/wire/messages.js';
import { encodeFrame, hello } from '../../lib/migration/wire/protocol.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { frameWire, type FrameFault } from './harness/faulty-wire.js';
import { linkStreams } from './harness/linked-streams.js';
import { valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { ORDER, digestOf, reasonOf, settleInFakeTime, useFakeTime } from './harness/test-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a connection of a whole guest', () => {
  test.each<['fromSource' | 'fromDestination', FrameFault]>([
    ['fromSource', 'reset-before'],
    ['fromSource', 'damaged'],
    ['fromDestination', 'reset-before'],
    ['fromDestination', 'reset-after'],
  ])(
    'that suffers at any frame %s (%s) costs another one, and calls again what must be',
    async (side, fault) => {
      const struck: string[] = [];
      for (let victim = 0, more = true; more; victim++) {
        more = false;
        let seen = '';
        const strikes = (type: string, number: number): boolean => {
          if (number === victim) seen = type;
          return number === victim;
        };
        const { sent, received, rest, guest, target } = await moveWhole(
          { stateBytes: 2 ** 20 + 5 },
          {
            send: { maxPasses: 1, frameBytes: 2 ** 20, waitMs: 9000 },
            wires: (number) =>
              number === 1 ? { [side]: frameWire(strikes, fault, () => (more = true)) } : {},
          },
        );
        struck.push(seen);
        if (seen === 'commit' && received.status === 'rejected') {
          // It never arrived: the source has asked, and the guest is its own.
          expect(rest.calls).toEqual(['finish', 'accept', 'discard']);
          expect(guest.state).toBe('running');
          continue;
        }
        expect(rest.times('run'), `${seen} ${victim}`).toBe(1);
        expect(rest.times('discard')).toBe(0);
        expect(await digestOf(target)).toBe(await digestOf(guest.vm));
        expect(valueOf(received).digest()).toBe(valueOf(sent).digest());
        const late = ['prepared', 'commit', 'committed'].includes(seen);
        expect(rest.times('accept')).toBeLessThanOrEqual(late ? 2 : 1 + Number(seen === 'prepare'));
        expect(guest.state).toBe('paused');
      }
      expect(new Set(struck).size).toBeGreaterThan(3);
    },
  );

  test('that flips a bit of the state is not believed, though its CRC is right', async () => {
    const flipped: Message = { type: 'state', bytes: new Uint8Array(77).fill(3) };
    const { sent, received, guest, rest } = await moveWhole(
      { stateBytes: 77 },
      { wires: () => ({ fromSource: frameWire((type) => type === 'state', flipped) }) },
    );
    expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_VERIFY' });
    expect(guest.state).toBe('running');
    expect(rest.calls).toEqual(['finish', 'discard']);
  });
});

describe('a destination of a whole guest', () => {
  const HELLO = hello(
    {
      migrationId: 'test',
      attempt: 1,
      order: ORDER,
      headerByteOrder: 'LE',
      backend: 'emulated',
      host: 'power8',
    },
    ['rest'],
  );
  const RECORDS = Buffer.from('000000000100ff3f00000000000000510000000000000190', 'hex');
  const digestOfAll = createHash('sha256').update(RECORDS).update(new Uint8Array(1)).digest('hex');
  const BEGIN: Message = { type: 'pass-begin', pass: 1 };
  const WHOLE: Message[] = [
    BEGIN,
    { type: 'data', records: RECORDS },
    { type: 'pass-end', pass: 1, validEntries: 1, invalidEntries: 16_383, bytes: 24 },
  ];
  const state = (length: number): Message => ({ type: 'state', bytes: new Uint8Array(length) });
  const prepare = (digest: string, stateBytes?: number): Message => ({
    type: 'prepare',
    digest,
    validEntries: 1,
    ...(stateBytes !== undefined && { stateBytes }),
  });

  test.each<[string, Message[], string]>([
    ['before its first pass', [HELLO, state(1)], 'the source sent state where pass-begin of pass 1 was due'],
    ['within a pass', [HELLO, BEGIN, state(1)], 'the source sent state where data or pass-end was due'],
    ['of no bytes', [HELLO, ...WHOLE, state(0)], 'the source sent a state frame without a byte'],
    [
      'with a pass after it',
      [HELLO, ...WHOLE, state(1), { type: 'pass-begin', pass: 2 }],
      'the source sent pass-begin of pass 2 where state or prepare was due',
    ],
    [
      'of a byte too many',
      [HELLO, ...WHOLE, ...Array.from({ length: 16 }, () => state(2 ** 20)), state(1)],
      'the source sent 16777217 bytes of state; at most 16777216 are accepted',
    ],
    [
      'with another digest',
      [HELLO, ...WHOLE, state(1), prepare('00'.repeat(32), 1)],
      'the table received is not',
    ],
    [
      'of another length',
      [HELLO, ...WHOLE, state(1), prepare(digestOfAll, 2)],
      'it has 1 bytes, and should have 2',
    ],
    [
      'of no stated length',
      [HELLO, ...WHOLE, state(1), prepare(digestOfAll)],
      'and should have a stated number',
    ],
    ['before hello', [state(1)], 'state came before any other message'],
  ])('refuses state %s', async (_, messages, message) => {
    const calls: string[] = [];
    const { error, target } = await refusal(messages, {
      accept: () => Promise.resolve(void calls.push('accept')),
      discard: () => Promise.resolve(void calls.push('discard')),
      run: () => Promise.resolve(void calls.push('run')),
    });
    expect(error.message).toContain(message);
    expect(calls).toEqual(['discard']);
    expect(target.table?.validCount ?? 0).toBe(0);
  });

  test('refuses state of a source that moves its table only', async () => {
    const { error } = await refusal([{ ...HELLO, features: [] }, ...WHOLE, state(1)], undefined);
    expect(error.message).toContain('the source sent state where pass-begin of pass 2 was due');
  });

  async function refusal(messages: readonly Message[], rest: DestinationRest | undefined) {
    const [source, channel] = linkStreams();
    const target = new EmulatedVm();
    const receiving = Promise.allSettled([receiveHpt(target, channel, { rest })]);
    source.on('error', () => undefined);
    source.resume();
    for (const [sequence, message] of messages.entries()) {
      const { header, payload } = encodeFrame(message, sequence);
      source.write(Buffer.concat([header, payload]));
    }
    const [received] = await settleInFakeTime(receiving);
    return { error: reasonOf(received) as Error, target };
  }
});
