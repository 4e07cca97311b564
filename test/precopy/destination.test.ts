import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { HtabError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { StateEvent } from '../../lib/migration/events.js';
import { inDoubtError } from '../../lib/migration/errors.js';
import { type Journal } from '../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../lib/migration/outcome.js';
import { linkStreams } from '../migration/harness/linked-streams.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../migration/harness/test-guest.js';
import { moveGuest, power8 } from '../migration/harness/move-guest.js';
import { withCalls } from '../migration/harness/failing-calls.js';
import { never, after } from './unsettled-calls.js';

type Calls = Pick<Journal, 'find' | 'begin' | 'decide'>;
const silent = (): Journal => withCalls(new MemoryJournal(), { find: never, begin: never, decide: never });

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('the destination of a migration', () => {
  test.each<keyof Calls>(['find', 'begin'])(
    'gives up in time where its journal never answers, and the guest runs on: %s',
    async (name) => {
      const guest = await startGuest(300);
      const begun = performance.now();
      const journal = withCalls(new MemoryJournal(), { [name]: never, decide: never });
      const { sent, received, target } = await moveGuest(guest, { receive: { journal, timeoutMs: 5000 } });
      expect(performance.now() - begun).toBeLessThanOrEqual(5000 + 3000);
      const message = 'the journal did not answer within 5000 ms; check its disk';
      expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_MIGRATION', message });
      expect(reasonOf(sent)).toMatchObject({ message: `the destination reports: ${message}` });
      expect(guest.state).toBe('running');
      expect(target.table?.validCount ?? 0).toBe(0);
    },
  );

  test('ends in doubt where its journal never takes the decision and the source asks no more', async () => {
    const guest = await startGuest(300);
    const begun = performance.now();
    const limits = { timeoutMs: 3000, reconnectMs: 10_000 };
    const journal = withCalls(new MemoryJournal(), { decide: never });
    const { sent, received, target } = await moveGuest(guest, {
      send: limits,
      receive: { ...limits, journal },
    });
    expect(performance.now() - begun).toBeLessThanOrEqual(13_000 + 5000);
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
    expect(reasonOf(received)).toMatchObject({
      code: 'ERR_HTAB_IN_DOUBT',
      cause: { message: expect.stringContaining('within 13000 ms') as string },
    });
    // Somebody has to look, and may find that the guest is here.
    expect(digestTable(target.table!)).toBe(digestTable(guest.vm.table!));
  });

  test('reports a journal that never answers when it is asked for an outcome', async () => {
    const [ours, theirs] = linkStreams();
    const answering = answerOutcomes(silent(), theirs, { timeoutMs: 3000 }).catch(() => undefined);
    const asked = settleInFakeTime(Promise.all([askOutcome(ours, 'm', { timeoutMs: 5000 }), answering]));
    await expect(asked).rejects.toThrow('the destination reports: the journal did not answer within 3000 ms');
  });

  test('is not in doubt where its journal cannot tell whether it has begun: the guest runs on', async () => {
    const guest = await startGuest(300);
    const begin = (): Promise<never> => Promise.reject(inDoubtError('it may not be on the disk', 'look'));
    const journal = withCalls(new MemoryJournal(), { begin });
    const { sent, received, target } = await moveGuest(guest, { receive: { journal } });
    expect(reasonOf(received)).toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
      cause: { code: 'ERR_HTAB_IN_DOUBT' },
    });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(guest.state).toBe('running');
    expect(target.table!.validCount).toBe(0);
  });

  test('is asked by the source, which ends in doubt, where its decision takes long', async () => {
    const guest = await startGuest(300);
    const journal = new MemoryJournal();
    const decide: Journal['decide'] = async (...args) => {
      await new Promise((resolve) => setTimeout(resolve, 30_000));
      return journal.decide(...args);
    };
    let stoppedAt = 0;
    let doubtedAt = 0;
    const doubt = (event: unknown): void => {
      if ((event as StateEvent).state === 'in-doubt') doubtedAt = performance.now();
    };
    subscribe('kvm-htab:state', doubt);
    const { sent, received } = await moveGuest(guest, {
      send: {
        timeoutMs: 3000,
        reconnectMs: 10_000,
        pause: () => {
          stoppedAt = performance.now();
          return guest.pause();
        },
      },
      receive: { timeoutMs: 3000, journal: withCalls(journal, { decide }) },
    });
    unsubscribe('kvm-htab:state', doubt);
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
    // The acknowledgement, the time to be without an answer, and the last question.
    expect(doubtedAt - stoppedAt).toBeLessThanOrEqual(3000 + 10_000 + 3000 + 1000);
    expect(guest.state).toBe('paused');
    expect(received.status).toBe('fulfilled');
  });

  test('waits for its journal with the longest limits there are', async () => {
    const guest = await startGuest(300);
    const journal = new MemoryJournal();
    const decide: Journal['decide'] = async (...args) => {
      await after(1000);
      return journal.decide(...args);
    };
    const limits = { timeoutMs: 2 ** 31 - 1, reconnectMs: 2 ** 31 - 1 };
    const receive = { ...limits, journal: withCalls(journal, { decide }) };
    const { sent, received } = await moveGuest(guest, { send: limits, receive });
    expect([sent.status, received.status]).toEqual(['fulfilled', 'fulfilled']);
  });

  test.each([
    [{ maxOrder: 18 }, undefined],
    [{ expectedOrder: 18 }, undefined],
    [{ expectedOrder: 24 }, "the source's table has order 18; order 24 is expected"],
  ])('with options %j answers a table of order 18: %s', async (receive, message) => {
    const { sent, received, target } = await moveGuest(await startGuest(300), { receive });
    if (message === undefined) {
      expect([sent.status, received.status]).toEqual(['fulfilled', 'fulfilled']);
    } else {
      expect(reasonOf(sent)).toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        message: `the destination reports: ${message}`,
      });
      expect(received.status).toBe('rejected');
      expect(target.table).toBeUndefined();
    }
  });

  test('allocates no memory for a table above its maxOrder', async () => {
    const guest = await startGuest(300);
    await guest.vm.allocateHpt(22);
    const target = power8();
    await target.allocateHpt(18);
    const { sent } = await moveGuest(guest, { target, receive: { maxOrder: 21, minEntries: 0 } });
    expect((reasonOf(sent) as HtabError).message).toBe(
      "the destination reports: the source's table has order 22; at most order 21 is accepted",
    );
    expect(target.hptOrder).toBe(18);
  });

  test.each([{ maxOrder: 17 }, { maxOrder: 37 }, { expectedOrder: 17 }, { expectedOrder: 20.5 }])(
    'cannot be told %j',
    async (options) => {
      await expect(receiveHpt(power8(), linkStreams()[0], options)).rejects.toMatchObject({
        code: 'ERR_OUT_OF_RANGE',
      });
    },
  );
});
