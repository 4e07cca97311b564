import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt, type ReceiveOptions } from '../../../lib/migration/destination/receive.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../../lib/migration/outcome.js';
import type { SendReport } from '../../../lib/migration/source/send-report.js';
import { encodeFrame } from '../../../lib/migration/wire/protocol.js';
import { sendHpt } from '../../../lib/migration/source/send.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../harness/test-guest.js';
import { power8 } from '../harness/move-guest.js';
import { Network } from '../harness/network.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

/** Sends a small guest of its own; `seed` makes its table different from the others'. */
async function send(network: Network, seed: number, migrationId?: string): Promise<SendReport> {
  const guest = await startGuest(50, seed);
  return sendHpt(guest.vm, network.connect, guest.options({ migrationId }));
}

describe('guest after guest', () => {
  /** @param connections what each receiver is given */
  async function inARow(network: Network, connections: () => AsyncIterable<Duplex>): Promise<SendReport[]> {
    const reports: SendReport[] = [];
    for (let seed = 1; seed <= 50; seed++) {
      const both = Promise.all([send(network, seed), receiveHpt(power8(), connections())]);
      const [sent, received] = await settleInFakeTime(both);
      expect(received.digest()).toBe(sent.digest());
      reports.push(sent);
    }
    return reports;
  }

  test('comes over one listener, each by its first connection', async () => {
    const network = new Network();
    const reports = await inARow(network, () => network);
    expect(new Set(reports.map(({ attempts }) => attempts))).toEqual(new Set([1]));
    expect(new Set(reports.map((report) => report.digest())).size).toBe(50);
  });

  test('comes where each receiver has a generator of its own over the same connections', async () => {
    const network = new Network();
    const arrivals = network[Symbol.asyncIterator]();
    async function* connections(): AsyncGenerator<Duplex> {
      for (;;) {
        const { value, done } = await arrivals.next();
        if (done === true) return;
        yield value;
      }
    }
    // The generator before has a call of next() open: it tells the source that comes to it to connect again.
    const reports = await inARow(network, connections);
    expect(reports.map(({ attempts }) => attempts)).toEqual([1, ...Array<number>(49).fill(2)]);
  });

  test('waits for a receiver that is called later than its source connects', async () => {
    const network = new Network();
    await settleInFakeTime(Promise.all([send(network, 1), receiveHpt(power8(), network)]));
    const early = send(network, 2);
    await vi.advanceTimersByTimeAsync(5000);
    const [sent, received] = await settleInFakeTime(Promise.all([early, receiveHpt(power8(), network)]));
    expect(received.digest()).toBe(sent.digest());
  });

  test('leaves what is known of the guests before to be asked for', async () => {
    const network = new Network();
    await settleInFakeTime(Promise.all([send(network, 1, 'first'), receiveHpt(power8(), network)]));
    const second = receiveHpt(power8(), network);
    const ask = async (id: string): Promise<string> => askOutcome(await network.connect(), id);
    expect(await settleInFakeTime(ask('first'))).toBe('committed');
    expect(await settleInFakeTime(ask('second'))).toBe('unknown');
    await settleInFakeTime(Promise.all([send(network, 2, 'second'), second]));
    expect(await settleInFakeTime(ask('first'))).toBe('committed');
  });
});

describe('receivers at the same time over one listener', () => {
  const ids = Array.from({ length: 8 }, (_, index) => `guest-${index}`);

  test('take their guests by migration id, in whatever order they come', async () => {
    const network = new Network();
    const receiving = ids.map((migrationId) => receiveHpt(power8(), network, { migrationId }));
    const sending = ids.map((id, index) => send(network, index + 1, id)).reverse();
    const [received, sent] = await settleInFakeTime(
      Promise.all([Promise.all(receiving), Promise.all(sending)]),
    );
    expect(received.map(({ migrationId }) => migrationId)).toEqual(ids);
    expect(received.map((report) => report.digest())).toEqual(
      sent.reverse().map((report) => report.digest()),
    );
  });

  test('take one guest each without ids, though all sources come at once', async () => {
    const network = new Network();
    const receiving = ids.map(() => receiveHpt(power8(), network));
    const sending = ids.map((id, index) => send(network, index + 1, id));
    const [received, sent] = await settleInFakeTime(
      Promise.all([Promise.all(receiving), Promise.all(sending)]),
    );
    expect(received.map(({ migrationId }) => migrationId).sort()).toEqual(ids);
    expect(sent.map(({ attempts }) => attempts)).toEqual(ids.map(() => 1));
  });

  test('take them too if a source comes before its receiver, and others are under way', async () => {
    const network = new Network();
    const sending = ids.map((id, index) => send(network, index + 1, id));
    const receiving: Promise<unknown>[] = [];
    for (const migrationId of ids) {
      receiving.push(receiveHpt(power8(), network, { migrationId }));
      await vi.advanceTimersByTimeAsync(500);
    }
    const sent = await settleInFakeTime(Promise.all(sending));
    await settleInFakeTime(Promise.all(receiving));
    expect(Math.max(...sent.map(({ attempts }) => attempts))).toBeGreaterThan(1);
  });

  test('take one guest each where they name none, the one that waits longest first', async () => {
    const network = new Network();
    const [first, second] = [receiveHpt(power8(), network), receiveHpt(power8(), network)];
    await settleInFakeTime(send(network, 1, 'a').then(() => send(network, 2, 'b')));
    const reports = await settleInFakeTime(Promise.all([first, second]));
    expect(reports.map(({ migrationId }) => migrationId)).toEqual(['a', 'b']);
  });

  test('leave a named guest to the receiver that names it', async () => {
    const network = new Network();
    const any = receiveHpt(power8(), network);
    const named = receiveHpt(power8(), network, { migrationId: 'b' });
    await settleInFakeTime(send(network, 1, 'b').then(() => send(network, 2, 'a')));
    const reports = await settleInFakeTime(Promise.all([any, named]));
    expect(reports.map(({ migrationId }) => migrationId)).toEqual(['a', 'b']);
  });

  test('share it with answerOutcomes, whichever was called first', async () => {
    const journal = new MemoryJournal();
    await journal.begin({ side: 'destination', migrationId: 'old', order: 18, digest: 'ab'.repeat(32) });
    await journal.decide('destination', 'old', 'committed');
    const network = new Network();
    const stop = new AbortController();
    const answering = answerOutcomes(journal, network, { signal: stop.signal });
    const receiving = receiveHpt(power8(), network);
    expect(await settleInFakeTime(askOutcome(await network.connect(), 'old'))).toBe('committed');
    const [sent, received] = await settleInFakeTime(Promise.all([send(network, 1), receiving]));
    expect(received.digest()).toBe(sent.digest());
    stop.abort();
    await answering;
  });

  test('reject an id that names no migration', async () => {
    const options: ReceiveOptions = { migrationId: 'a b' };
    await expect(receiveHpt(power8(), new Network(), options)).rejects.toBeInstanceOf(RangeError);
  });
});

describe('peers that do not say what they want', () => {
  test('give way, the oldest first, so that a source gets in however many there are', async () => {
    const network = new Network();
    const refused: string[] = [];
    const onRefused = (reason: unknown): void => void refused.push((reason as Error).message);
    const receiving = receiveHpt(power8(), network, { onRefused });
    const silent: Duplex[] = [];
    for (let count = 0; count < 1000; count++) {
      silent.push((await network.connect()).on('error', () => undefined).resume());
    }
    const [sent, received] = await settleInFakeTime(Promise.all([send(network, 1), receiving]));
    expect([received.digest(), sent.attempts]).toEqual([sent.digest(), 1]);
    // 512 at the most, the source among them.
    expect(refused).toEqual(Array<string>(489).fill('the connection was idle, and 512 newer ones wait'));
    expect(silent.map(({ destroyed }) => destroyed).indexOf(false)).toBe(489);
  });

  test('are told apart from one that has begun to speak', async () => {
    const network = new Network();
    const receiving = receiveHpt(power8(), network);
    const speaks = (await network.connect()).on('error', () => undefined).resume();
    speaks.write('K');
    for (let count = 0; count < 600; count++) (await network.connect()).on('error', () => undefined).resume();
    await settleInFakeTime(new Promise((resolve) => setImmediate(resolve)));
    expect(speaks.destroyed).toBe(false);
    await settleInFakeTime(Promise.all([send(network, 1), receiving]));
  });

  test.each<[string, (channel: Duplex, second: number) => void]>([
    ['says nothing', () => undefined],
    ['sends a byte a second', (channel) => void channel.write('K')],
    [
      'sends heartbeats only',
      (channel, second) => {
        const { header, payload } = encodeFrame({ type: 'heartbeat' }, second);
        channel.write(Buffer.concat([header, payload]));
      },
    ],
  ])('keep a connection no longer than timeoutMs where one %s', async (_, act) => {
    const network = new Network();
    const refused: unknown[] = [];
    const stop = new AbortController();
    const receiving = receiveHpt(power8(), network, {
      ...{ timeoutMs: 5000, signal: stop.signal },
      onRefused: (reason) => void refused.push(reason),
    });
    const channel = (await network.connect()).on('error', () => undefined).resume();
    for (let second = 0; second < 8 && !channel.destroyed; second++) {
      act(channel, second);
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(channel.destroyed).toBe(true);
    expect(refused).toHaveLength(1);
    stop.abort(new Error('enough'));
    await expect(settleInFakeTime(receiving)).rejects.toThrow('enough');
  });

  test('get no memory for records', async () => {
    const network = new Network();
    const refused: unknown[] = [];
    const receiving = receiveHpt(power8(), network, { onRefused: (reason) => void refused.push(reason) });
    const channel = (await network.connect()).on('error', () => undefined).resume();
    const [beat, data] = [
      encodeFrame({ type: 'heartbeat' }, 0),
      encodeFrame({ type: 'data', records: Buffer.alloc(1 << 20) }, 1),
    ];
    channel.write(Buffer.concat([beat.header, beat.payload, data.header]));
    await settleInFakeTime(vi.waitUntil(() => refused.length > 0));
    expect((refused[0] as Error).message).toBe('data came before any other message');
    await settleInFakeTime(Promise.all([send(network, 1), receiving]));
  });

  test('go soon after the last receiver, and hold no process', async () => {
    const network = new Network();
    const receiving = receiveHpt(power8(), network);
    const silent = (await network.connect()).on('error', () => undefined).resume();
    await settleInFakeTime(Promise.all([send(network, 1), receiving]));
    await vi.advanceTimersByTimeAsync(1000);
    expect(silent.destroyed).toBe(true);
  });
});

test('a source that no receiver waits for, while others are under way, is told to come again', async () => {
  const network = new Network();
  const refused: unknown[] = [];
  const stop = new AbortController();
  const waiting = receiveHpt(power8(), network, {
    ...{ migrationId: 'mine', signal: stop.signal },
    onRefused: (reason) => void refused.push(reason),
  });
  const guest = await startGuest(50);
  const options = guest.options({ migrationId: 'other', reconnectMs: 3000 });
  const [sent] = await settleInFakeTime(Promise.allSettled([sendHpt(guest.vm, network.connect, options)]));
  const message = 'no receiver waits for migration other; start one for this id, or without an id';
  expect((reasonOf(sent) as Error).message).toBe(`the destination reports: ${message}`);
  expect(refused.length).toBeGreaterThan(1);
  expect(refused.map((reason) => (reason as Error).message)).toEqual(
    Array<string>(refused.length).fill(message),
  );
  stop.abort(new Error('enough'));
  await expect(settleInFakeTime(waiting)).rejects.toThrow('enough');
});
