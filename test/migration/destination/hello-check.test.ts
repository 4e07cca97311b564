import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt, type ReceiveOptions } from '../../../lib/migration/destination/receive.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import { askOutcome } from '../../../lib/migration/outcome.js';
import { sendHpt } from '../../../lib/migration/source/send.js';
import { Connection } from '../../../lib/migration/wire/connection.js';
import type { Hello } from '../../../lib/migration/wire/messages.js';
import { hello } from '../../../lib/migration/wire/protocol.js';
import { withCalls } from '../harness/failing-calls.js';
import { power8 } from '../harness/move-guest.js';
import { Network } from '../harness/network.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../harness/test-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

const DIGEST = 'a'.repeat(64);

async function journalWith(state: 'pending' | 'committed' | 'aborted'): Promise<MemoryJournal> {
  const journal = new MemoryJournal();
  await journal.begin({ side: 'destination', migrationId: 'used', order: 18, digest: DIGEST });
  if (state !== 'pending') await journal.decide('destination', 'used', state);
  return journal;
}

const GOOD = hello({
  migrationId: 'used',
  attempt: 1,
  order: 18,
  headerByteOrder: 'LE',
  backend: 'emulated',
  host: 'power8',
});

describe('a receiver on a listener turns away, and waits on for its own source', () => {
  interface Case {
    readonly title: string;
    readonly why: RegExp;
    readonly hello?: Partial<Hello>;
    readonly options?: ReceiveOptions;
    readonly state?: 'pending' | 'committed' | 'aborted';
  }
  const cases: readonly Case[] = [
    { title: 'a source of another byte order', hello: { headerByteOrder: 'BE' }, why: /BE byte order/ },
    { title: 'a kvm guest, as its table is emulated', hello: { backend: 'kvm' }, why: /is emulated/ },
    {
      title: 'a table of another order',
      hello: { order: 19 },
      options: { expectedOrder: 18 },
      why: /order 18 is/,
    },
    {
      title: 'a table that is too large',
      hello: { order: 30 },
      options: { maxOrder: 20 },
      why: /at most order 20/,
    },
    { title: 'another source with an id that is pending', state: 'pending', why: /ids must be unique/ },
    { title: 'a source whose id is committed', state: 'committed', why: /is already/ },
    { title: 'a source whose id is aborted', state: 'aborted', why: /is already/ },
  ];

  test.each(cases)('$title', async ({ why, hello: members = {}, options = {}, state }) => {
    const network = new Network();
    const journal = state === undefined ? new MemoryJournal() : await journalWith(state);
    const before = await journal.entries('destination');
    const refused: unknown[] = [];
    const receiving = receiveHpt(power8(), network, {
      ...options,
      journal,
      onRefused: (reason) => refused.push(reason),
    });
    const stranger = new Connection(await network.connect(), 'destination', 30_000, undefined);
    await stranger.send({ ...GOOD, ...members });
    const answer = await settleInFakeTime(stranger.expect('welcome').catch((error: unknown) => error));
    expect(String(answer)).toMatch(why);
    await stranger.finish();
    expect(await journal.entries('destination')).toEqual(before);

    const guest = await startGuest(50);
    const sending = sendHpt(guest.vm, network.connect, guest.options({ migrationId: 'its-own' }));
    const [sent, received] = await settleInFakeTime(Promise.all([sending, receiving]));
    expect(received.digest()).toBe(sent.digest());
    expect(refused.map(String)).toEqual([expect.stringMatching(why)]);
  });
});

test('a journal that cannot be read ends the receiver: no source could be taken', async () => {
  const network = new Network();
  const unreadable = new Error('the disk is gone');
  const journal = withCalls(new MemoryJournal(), { find: () => Promise.reject(unreadable) });
  const receiving = receiveHpt(power8(), network, { journal });
  const stranger = new Connection(await network.connect(), 'destination', 30_000, undefined);
  await stranger.send(GOOD);
  const [received] = await settleInFakeTime(Promise.allSettled([receiving, stranger.expect('welcome')]));
  expect(reasonOf(received)).toBe(unreadable);
  await settleInFakeTime(stranger.finish());
});

test('a source that asks while the decision is made is told it, although the journal is closed right after', async () => {
  const network = new Network();
  const memory = new MemoryJournal();
  let closed = false;
  let asking: Promise<unknown> | undefined;
  const ask = async (): Promise<unknown> => askOutcome(await network.connect(), 'm-1', { digest });
  let digest = '';
  const journal = withCalls(memory, {
    begin: (entry) => {
      ({ digest } = entry);
      return memory.begin(entry);
    },
    find: async (side, id) => {
      // An answer's look-up comes to the disk only when its owner has closed the journal.
      if (asking !== undefined)
        await vi.waitFor(() => (closed ? undefined : Promise.reject(new Error('open'))));
      if (closed) throw new Error('the journal is closed');
      return memory.find(side, id);
    },
    decide: (side, id, decision) => {
      if (decision === 'committed') asking ??= ask();
      return memory.decide(side, id, decision);
    },
  });
  const guest = await startGuest(50);
  const sending = sendHpt(guest.vm, network.connect, guest.options({ migrationId: 'm-1' }));
  const receiving = receiveHpt(power8(), network, { journal }).then(() => (closed = true));
  await settleInFakeTime(Promise.all([sending, receiving]));
  expect(await settleInFakeTime(asking!)).toBe('committed');
  // What the receiver does not remember itself, nothing is said of: unknown would end the asking.
  const other = network.connect().then((channel) => askOutcome(channel, 'another', { digest }));
  const [answer] = await settleInFakeTime(Promise.allSettled([other]));
  expect(String(reasonOf(answer))).toMatch(/is closed; ask again/);
});
