import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt, type ReceiveOptions } from '../../../lib/migration/destination/receive.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../../lib/migration/outcome.js';
import type { SendReport } from '../../../lib/migration/source/send-report.js';
import { sendHpt } from '../../../lib/migration/source/send.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../harness/test-guest.js';
import { power8 } from '../harness/move-guest.js';
import { Network } from '../harness/network.js';
import { send } from './small-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

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
