import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabError } from '../../lib/base/errors.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { sendHpt, type SendOptions } from '../../lib/migration/source/send.js';
import { linkStreams } from '../migration/harness/linked-streams.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../migration/harness/test-guest.js';
import { moveGuest, valueOf } from '../migration/harness/move-guest.js';
import { withCalls } from '../migration/harness/failing-calls.js';
import { never, after } from './unsettled-calls.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('the guest of a migration', () => {
  test.each([
    ['pause', { pause: undefined }],
    ['resume', { resume: undefined }],
    ['throttle', { throttle: 'slowly' }],
  ])('is not moved without a way to stop it: %s', async (name, callbacks) => {
    const guest = await startGuest(300);
    const [channel] = linkStreams();
    const options = guest.options(callbacks as unknown as Partial<SendOptions>);
    await expect(sendHpt(guest.vm, channel, options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining(`"${name}" argument must be a function`) as unknown,
    });
    expect(channel.destroyed).toBe(false);
  });

  test('is paused and resumed by calls without arguments', async () => {
    const guest = await startGuest(300);
    const seen: unknown[][] = [];
    const { sent } = await moveGuest(guest, {
      send: {
        pause: (...args: unknown[]) => {
          seen.push(args);
          return Promise.reject(new Error('no'));
        },
        resume: (...args: unknown[]) => {
          seen.push(args);
          return guest.resume();
        },
      },
    });
    expect(reasonOf(sent)).toMatchObject({ message: 'no' });
    expect(seen).toEqual([[], []]);
  });

  test.each([
    [3000, [1, 0]],
    [60_000, [0, 1, 0]],
  ])(
    'has its full speed at the end where a throttle call times out and ends after %i ms: %j',
    async (ms, done) => {
      const guest = await startGuest(300);
      const stop = new AbortController();
      const steps: number[] = [];
      const throttle = async (step: number): Promise<void> => {
        if (step > 0) {
          stop.abort(new Error('enough'));
          await after(ms);
        }
        steps.push(step);
      };
      const limits = {
        guestTimeoutMs: 5000,
        whenNotConverging: 'throttle',
        maxPasses: 1,
        downtimeMs: 0,
      } as const;
      const { sent } = await moveGuest(guest, { send: { throttle, signal: stop.signal, ...limits } });
      expect(reasonOf(sent)).toMatchObject({ message: 'enough' });
      await settleInFakeTime(after(60_000));
      expect(steps).toEqual(done);
    },
  );

  test('is reported as possibly stopped where its resume never settles, with the first error', async () => {
    const guest = await startGuest(300);
    const pause = async (): Promise<never> => {
      await guest.pause();
      throw new Error('the monitor is gone');
    };
    const { sent } = await moveGuest(guest, { send: { pause, resume: never, guestTimeoutMs: 5000 } });
    const error = reasonOf(sent) as HtabError;
    expect(error.code).toBe('ERR_HTAB_GUEST_STOPPED');
    expect(error.message).toBe('the guest could not be resumed: it is here, unharmed and stopped');
    expect((error.cause as AggregateError).errors.map(String)).toEqual([
      'Error: the monitor is gone',
      'HtabStateError: resume did not settle within 5000 ms: the guest is here, and may be stopped',
    ]);
    expect(guest.state).toBe('paused');
  });

  test('stays and runs where throttle never settles', async () => {
    const guest = await startGuest(300);
    const steps: number[] = [];
    const throttle = (step: number): Promise<never> => {
      steps.push(step);
      return never();
    };
    const { sent } = await moveGuest(guest, {
      send: { throttle, guestTimeoutMs: 5000, whenNotConverging: 'throttle', maxPasses: 1, downtimeMs: 0 },
    });
    expect((reasonOf(sent) as HtabError).message).toBe(
      'throttle did not settle within 5000 ms: the guest may be slow',
    );
    expect(steps).toEqual([1, 0]);
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test.each([
    ['rejects', () => Promise.reject(new Error('someone has let it run')), 'someone has let it run'],
    ['never settles', never, 'confirmStopped did not settle within 5000 ms: the guest is resumed'],
  ])('is not committed where confirmStopped %s', async (_, confirmStopped, message) => {
    const guest = await startGuest(300);
    const { sent, target } = await moveGuest(guest, { send: { confirmStopped, guestTimeoutMs: 5000 } });
    expect((reasonOf(sent) as Error).message).toBe(message);
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(target.table!.validCount).toBe(0);
  });

  test('has no time of a stop where it stood still before', async () => {
    const { sent } = await moveGuest(await startGuest(300), { send: { pausedBefore: () => true } });
    expect(valueOf(sent).stopMs).toBeUndefined();
  });

  test('is resumed as one that may run elsewhere where its resume says so', async () => {
    const guest = await startGuest(300);
    const elsewhere = new HtabError('ERR_HTAB_IN_DOUBT', 'it was migrated by someone else');
    const send = {
      confirmStopped: () => Promise.reject(new Error('first')),
      resume: () => Promise.reject(elsewhere),
    };
    const { sent } = await moveGuest(guest, { send });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT', message: elsewhere.message });
  });

  test('is stopped no longer than the limits when the journal never answers', async () => {
    const guest = await startGuest(300);
    const begun = performance.now();
    const journal = withCalls(new MemoryJournal(), { begin: never, decide: never });
    const { sent, target } = await moveGuest(guest, { send: { journal, timeoutMs: 5000 } });
    expect(performance.now() - begun).toBeLessThanOrEqual(5000 + 3000);
    expect(reasonOf(sent)).toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
      cause: { message: expect.stringContaining('within 5000 ms') as string },
    });
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(target.table!.validCount).toBe(0);
  });

  test('is not committed after an abort, although the journal has been written', async () => {
    const guest = await startGuest(300);
    const stop = new AbortController();
    const journal = new MemoryJournal();
    const aborting = withCalls(journal, {
      begin: async (record) => {
        await journal.begin(record);
        stop.abort(new Error('enough'));
      },
    });
    const { sent } = await moveGuest(guest, {
      send: { journal: aborting, signal: stop.signal, migrationId: 'm' },
    });
    expect(reasonOf(sent)).toMatchObject({ message: 'enough' });
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(await journal.find('source', 'm')).toMatchObject({ state: 'aborted' });
  });
});
