import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import type { Message } from '../../lib/migration/wire/messages.js';
import { encodeFrame, hello } from '../../lib/migration/wire/protocol.js';
import { frameWire } from './harness/faulty-wire.js';
import { linkStreams } from './harness/linked-streams.js';
import { power8 } from './harness/move-guest.js';
import { Network } from './harness/network.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { TestRest, type Manner, type RestCallName } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

const RECORDS = Buffer.from('000000000100ff3f00000000000000510000000000000190', 'hex');
const WHOLE: readonly Message[] = [
  { type: 'pass-begin', pass: 1 },
  { type: 'data', records: RECORDS },
  { type: 'pass-end', pass: 1, validEntries: 1, invalidEntries: 16_383, bytes: 24 },
];
const STATE: Message = { type: 'state', bytes: Uint8Array.of(1) };
const COMMIT: Message = { type: 'commit' };

function helloOf(attempt = 1): Message {
  const table = { order: ORDER, headerByteOrder: 'LE', backend: 'emulated', host: 'power8' } as const;
  return hello({ migrationId: 'test', attempt, ...table }, ['rest']);
}

function prepareWith(stateBytes: number): Message {
  const digest = createHash('sha256').update(RECORDS).update(Uint8Array.of(1)).digest('hex');
  return { type: 'prepare', digest, validEntries: 1, stateBytes };
}

/** A connection that says whatever a test wants, and reads nothing. */
class Peer {
  readonly #channel: Duplex;
  #frames = 0;

  constructor(channel: Duplex) {
    this.#channel = channel;
    channel.on('error', () => undefined);
    channel.resume();
  }

  say(...messages: readonly Message[]): void {
    for (const message of messages) {
      const { header, payload } = encodeFrame(message, this.#frames++);
      this.#channel.write(Buffer.concat([header, payload]));
    }
  }

  hangUp(): void {
    this.#channel.destroy();
  }
}

describe('a destination of a whole guest', () => {
  /** Takes what one source says, over one connection, while it accepts too, and then nothing for a long time. */
  async function against(messages: readonly Message[], late: readonly Message[] = []) {
    const network = new Network();
    const manner = (name: RestCallName): Manner => {
      if (name !== 'accept' || late.length === 0) return 'well';
      peer.say(...late);
      return 'obeys';
    };
    const rest = new TestRest({ manner });
    // What is accepted is given by nobody here.
    rest.given = Uint8Array.of(1);
    const target = power8();
    const receiving = receiveHpt(target, network, { rest: rest.destination });
    const peer = new Peer(await network.connect());
    peer.say(...messages);
    const [received] = await settleInFakeTime(Promise.allSettled([receiving]));
    expect(rest.violations).toEqual([]);
    expect(target.table?.validCount ?? 0).toBe(0);
    return { message: (reasonOf(received) as Error).message, rest };
  }

  test.each<[string, readonly Message[], string[]]>([
    ['its hello', [helloOf()], ['discard']],
    ['the table', [helloOf(), ...WHOLE], ['discard']],
    ['its state', [helloOf(), ...WHOLE, STATE], ['discard']],
    ['its prepare', [helloOf(), ...WHOLE, STATE, prepareWith(1)], ['accept', 'discard']],
  ])('discards once if its source says nothing after %s', async (_, messages, calls) => {
    const { message, rest } = await against(messages);
    expect(message).toContain('the source has not connected again within 60000 ms');
    expect(rest.calls).toEqual(calls);
  });

  test.each<[string, Message]>([
    ['commit', COMMIT],
    ['state', STATE],
    ['prepare', prepareWith(1)],
    ['pass-begin', { type: 'pass-begin', pass: 2 }],
  ])('refuses %s while it accepts', async (type, message) => {
    const refused = await against([helloOf(), ...WHOLE, STATE, prepareWith(1)], [message]);
    expect(refused.message).toMatch(new RegExp(`^the source sent ${type} .*where nothing was due$`));
    expect(refused.rest.calls).toEqual(['accept', 'discard']);
    expect(refused.rest.signals[0]!.aborted).toBe(true);
  });

  test.each([-1, 0.5, 0, 2, 2 ** 53])(
    'refuses a state of one byte that is said to have %d',
    async (bytes) => {
      const { rest } = await against([helloOf(), ...WHOLE, STATE, prepareWith(bytes), COMMIT]);
      expect(rest.calls).toEqual(['discard']);
    },
  );

  test('discards once, however often its source comes back and goes', async () => {
    const network = new Network();
    const rest = new TestRest();
    rest.given = Uint8Array.of(1);
    const receiving = receiveHpt(power8(), network, { rest: rest.destination });
    const visits = async (): Promise<void> => {
      for (let attempt = 1; attempt <= 20; attempt++) {
        const peer = new Peer(await network.connect());
        peer.say(helloOf(attempt), ...WHOLE, STATE, prepareWith(1));
        await new Promise((resolve) => setTimeout(resolve, 50));
        peer.hangUp();
      }
    };
    const [received] = await settleInFakeTime(Promise.allSettled([receiving, visits()]));
    expect((reasonOf(received) as Error).message).toContain('has not connected again');
    expect(rest.times('accept')).toBe(20);
    expect(rest.calls.at(-1)).toBe('discard');
    expect([rest.times('discard'), rest.times('run')]).toEqual([1, 0]);
  });
});

describe('a source of a whole guest', () => {
  const WELCOME: Message = { type: 'welcome', backend: 'emulated', host: null, readBack: true };

  test('does not believe a prepared before its prepare', async () => {
    const guest = await startGuest(100);
    const said: string[] = [];
    const [channel, theirs] = linkStreams((chunk, offset) => wire(chunk, offset));
    const peer = new Peer(theirs);
    const wire = frameWire((type, sequence) => {
      said.push(type);
      if (type === 'hello') peer.say(WELCOME);
      if (type === 'data' || type === 'pass-end') peer.say({ type: 'applied', sequence });
      return false;
    }, 'none');
    const rest = new TestRest({
      manner: () => {
        peer.say({ type: 'prepared', digest: '00'.repeat(32) });
        return 'obeys';
      },
    });
    const sending = sendHpt(guest.vm, channel, guest.options({ rest: rest.source }, 0));
    const [sent] = await settleInFakeTime(Promise.allSettled([sending]));
    expect((reasonOf(sent) as Error).message).toMatch(/^the destination sent prepared where .* was due$/);
    expect(said).not.toContain('prepare');
    expect(rest.signals[0]!.aborted).toBe(true);
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });
});
