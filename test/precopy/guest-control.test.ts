import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { HtabError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { StateEvent } from '../../lib/migration/events.js';
import { inDoubtError } from '../../lib/migration/errors.js';
import { type Journal } from '../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../lib/migration/outcome.js';
import type { GuestCallbacks } from '../../lib/precopy/guest-options.js';
import { sendHpt, type SendOptions } from '../../lib/migration/source/send.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { scratchFiles } from '../scratch.js';
import { linkStreams } from '../migration/harness/linked-streams.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../migration/harness/test-guest.js';
import { moveGuest, power8, valueOf } from '../migration/harness/move-guest.js';
import { withCalls } from '../migration/harness/failing-calls.js';

const never = (): Promise<never> => new Promise(() => undefined);
const scratch = scratchFiles();
type Calls = Pick<Journal, 'find' | 'begin' | 'decide'>;
const silent = (): Journal => withCalls(new MemoryJournal(), { find: never, begin: never, decide: never });
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

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

  test('is resumed where its pause never settles, and the error reports it', async () => {
    const guest = await startGuest(300);
    const began = performance.now();
    const { sent, target } = await moveGuest(guest, { send: { pause: never, guestTimeoutMs: 5000 } });
    expect(reasonOf(sent)).toMatchObject({ state: 'busy' });
    expect((reasonOf(sent) as HtabError).message).toBe(
      'pause did not settle within 5000 ms: the guest is resumed, and will be resumed again after the late pause',
    );
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(target.table!.validCount).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test('is resumed after an abort where its pause never settles, once the call has timed out', async () => {
    const guest = await startGuest(300);
    const stop = new AbortController();
    let begun = 0;
    const pause = (): Promise<never> => {
      begun = performance.now();
      setTimeout(() => stop.abort(new Error('enough')), 1000);
      return never();
    };
    let resumed = 0;
    const resume = (): Promise<void> => {
      resumed = performance.now();
      return guest.resume();
    };
    const send = { pause, resume, signal: stop.signal, guestTimeoutMs: 5000 };
    const { sent } = await moveGuest(guest, { send });
    expect(reasonOf(sent)).toMatchObject({ message: 'enough' });
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(resumed - begun).toBe(5000);
  });

  test.each(['resolves', 'rejects'])(
    'is resumed again where its pause times out and %s later',
    async (end) => {
      const guest = await startGuest(300);
      const stop = new AbortController();
      const calls: string[] = [];
      const pause = async (): Promise<void> => {
        setTimeout(() => stop.abort(new Error('enough')), 1000);
        await after(3000);
        await guest.pause();
        calls.push('paused');
        if (end === 'rejects') throw new Error('not sure');
      };
      const resume = (): Promise<void> => {
        calls.push('resumed');
        return guest.resume();
      };
      const { sent } = await moveGuest(guest, { send: { pause, resume, signal: stop.signal } });
      expect(reasonOf(sent)).toMatchObject({ message: 'enough' });
      await settleInFakeTime(after(10_000));
      expect(calls).toEqual(['paused', 'resumed']);
      expect(guest.state).toBe('running');
    },
  );

  test('is resumed again where its pause ends long after the timeout', async () => {
    const guest = await startGuest(300);
    const pause = async (): Promise<void> => {
      await after(60_000);
      await guest.pause();
    };
    const { sent } = await moveGuest(guest, { send: { pause, guestTimeoutMs: 5000 } });
    expect(reasonOf(sent)).toMatchObject({ state: 'busy' });
    expect(guest).toMatchObject({ state: 'running', pauses: 0, resumes: 1 });
    await settleInFakeTime(after(60_000));
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 2 });
  });

  test('is not stopped by another migration or a snapshot before a pause that timed out has ended', async () => {
    const guest = await startGuest(300);
    const calls: string[] = [];
    // Not by the clock, which a disk that is slow to take the snapshot would put forward.
    let endPause = (): void => undefined;
    const pauseEnds = new Promise<void>((resolve) => {
      endPause = resolve;
    });
    const pause = async (): Promise<void> => {
      calls.push('pause');
      await pauseEnds;
      await guest.pause();
    };
    const resume = async (): Promise<void> => {
      calls.push('resume');
      await after(1000);
      await guest.resume();
    };
    const control = { pause, resume, guestTimeoutMs: 5000 };
    const first = await moveGuest(guest, { send: control });
    expect(reasonOf(first.sent)).toMatchObject({ state: 'busy' });
    const second = await moveGuest(guest, { send: control });
    expect(reasonOf(second.sent)).toMatchObject({
      state: 'busy',
      message: expect.stringContaining('an earlier pause call timed out and is still running') as string,
    });
    expect(second.target.table!.validCount).toBe(0);
    const saved = saveSnapshot(guest.vm, scratch('table'), { guest: control });
    await expect(settleInFakeTime(saved)).rejects.toMatchObject({ state: 'busy' });
    // The guest of the first was told to run, and nobody has told it anything since.
    expect([calls, guest.state]).toEqual([['pause', 'resume'], 'running']);

    endPause();
    await settleInFakeTime(after(5000));
    expect(calls).toEqual(['pause', 'resume', 'resume']);
    const third = await moveGuest(guest, { send: control });
    expect(third.sent.status).toBe('fulfilled');
    expect(guest.state).toBe('paused');
  });

  test('is not stopped by another migration before a resume that timed out has ended', async () => {
    const guest = await startGuest(300);
    let resumeTakesMs = 60_000;
    const resume = async (): Promise<void> => {
      await after(resumeTakesMs);
      await guest.resume();
    };
    const control = { pause: guest.pause, resume, guestTimeoutMs: 5000 };
    const journal = withCalls(new MemoryJournal(), { begin: () => Promise.reject(new Error('disk full')) });
    const first = await moveGuest(guest, { send: control, receive: { journal } });
    expect(reasonOf(first.sent)).toMatchObject({ code: 'ERR_HTAB_GUEST_STOPPED' });
    const second = await moveGuest(guest, { send: control });
    expect(reasonOf(second.sent)).toMatchObject({
      state: 'busy',
      message: expect.stringContaining('an earlier resume call timed out and is still running') as string,
    });
    expect(second.target.table!.validCount).toBe(0);

    await settleInFakeTime(after(60_000));
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
    resumeTakesMs = 0;
    const third = await moveGuest(guest, { send: control });
    expect(third.sent.status).toBe('fulfilled');
    expect(guest).toMatchObject({ state: 'paused', resumes: 1 });
  });

  test('is identified by its VM although each migration has callbacks of its own', async () => {
    const guest = await startGuest(300);
    let endPause = (): void => undefined;
    const pauseEnds = new Promise<void>((resolve) => {
      endPause = resolve;
    });
    const inline = (): GuestCallbacks & Pick<SendOptions, 'guestTimeoutMs'> => ({
      pause: async () => {
        await pauseEnds;
        await guest.pause();
      },
      resume: () => guest.resume(),
      guestTimeoutMs: 5000,
    });
    const busy = {
      state: 'busy',
      message: expect.stringContaining('an earlier pause call timed out and is still running') as string,
    };
    await moveGuest(guest, { send: inline() });
    expect(reasonOf((await moveGuest(guest, { send: inline() })).sent)).toMatchObject(busy);
    const saved = saveSnapshot(guest.vm, scratch('table'), { guest: inline() });
    await expect(settleInFakeTime(saved)).rejects.toMatchObject(busy);
    // Another guest is not kept from anything.
    expect((await moveGuest(await startGuest(300))).sent.status).toBe('fulfilled');

    endPause();
    await settleInFakeTime(after(1000));
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 2 });
    expect((await moveGuest(guest, { send: inline() })).sent.status).toBe('fulfilled');
    expect(guest.state).toBe('paused');
  });

  test('is identified by its pause function where only descriptors are given', async () => {
    const guest = await startGuest(300);
    const saving = async (pause: () => Promise<void>): Promise<unknown> => {
      const control = { pause, resume: guest.resume };
      const options = { order: 18, guest: control, guestTimeoutMs: 5000 };
      return settleInFakeTime(saveSnapshot(await guest.vm.openHtab(), scratch('table'), options));
    };
    const pause = (): Promise<void> => never();
    await expect(saving(pause)).rejects.toThrow('pause did not settle');
    await expect(saving(pause)).rejects.toThrow('an earlier pause call timed out and is still running');
    await expect(saving(guest.pause)).resolves.toMatchObject({ quiescent: true });
  });

  test('is not stopped by another migration while its pause goes on after a failed resume', async () => {
    const guest = await startGuest(300);
    let pauseTakesMs = 60_000;
    const pause = async (): Promise<void> => {
      await after(pauseTakesMs);
      await guest.pause();
    };
    const send = { pause, guestTimeoutMs: 5000 };
    const first = await moveGuest(guest, {
      send: { ...send, resume: () => Promise.reject(new Error('no')) },
    });
    expect(reasonOf(first.sent)).toMatchObject({ code: 'ERR_HTAB_GUEST_STOPPED' });
    const second = await moveGuest(guest, { send });
    expect(reasonOf(second.sent)).toMatchObject({
      message: expect.stringContaining('an earlier pause call timed out and is still running') as string,
    });
    await settleInFakeTime(after(60_000));
    pauseTakesMs = 0;
    expect((await moveGuest(guest, { send })).sent.status).toBe('fulfilled');
  });

  test.each<[string, () => Promise<void>, string]>([
    ['fails', () => Promise.reject(new Error('the VMM refuses')), 'Error: the VMM refuses'],
    [
      'never settles',
      never,
      'HtabStateError: resume did not settle within 5000 ms: the guest is here, and may be stopped',
    ],
  ])('is reported by a warning where its resume after a late pause %s', async (_how, again, reason) => {
    const guest = await startGuest(300);
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    onTestFinished(() => {
      warn.mockRestore();
    });
    const pause = async (): Promise<void> => {
      await after(60_000);
      await guest.pause();
    };
    const resume = (): Promise<void> => (guest.pauses === 0 ? guest.resume() : again());
    const { sent } = await moveGuest(guest, { send: { pause, resume, guestTimeoutMs: 5000 } });
    expect(reasonOf(sent)).toMatchObject({ state: 'busy' });
    await settleInFakeTime(after(70_000));
    expect(guest.state).toBe('paused');
    expect(warn.mock.calls).toEqual([
      [
        'the guest may be stopped: its pause ended after it had timed out, and the resume after it failed: ' +
          reason,
        { code: 'HTAB_GUEST_STOPPED' },
      ],
    ]);
  });

  test('is resumed again where its pause ends during the resume', async () => {
    const guest = await startGuest(300);
    const pause = async (): Promise<void> => {
      await after(7000);
      await guest.pause();
    };
    // Its VMM heard of it first, and has done it.
    const resume = async (): Promise<void> => {
      await guest.resume();
      await after(3000);
    };
    const { sent } = await moveGuest(guest, { send: { pause, resume, guestTimeoutMs: 5000 } });
    expect(reasonOf(sent)).toMatchObject({ state: 'busy' });
    await settleInFakeTime(after(10_000));
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 2 });
  });

  test('is resumed once where its pause ends itself at the limit', async () => {
    const guest = await startGuest(300);
    const pause = async (): Promise<void> => {
      await after(5010);
      await guest.pause();
      throw new Error('killed');
    };
    const { sent } = await moveGuest(guest, { send: { pause, guestTimeoutMs: 5000 } });
    expect(reasonOf(sent)).toMatchObject({ state: 'busy' });
    await settleInFakeTime(after(10_000));
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });

  test('is left to the caller where it could not be resumed, whenever its pause ends', async () => {
    const guest = await startGuest(300);
    let resumes = 0;
    const resume = (): Promise<never> => {
      resumes++;
      return Promise.reject(new Error('no'));
    };
    const pause = (): Promise<void> => after(60_000);
    const { sent } = await moveGuest(guest, { send: { pause, resume, guestTimeoutMs: 5000 } });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_GUEST_STOPPED' });
    await settleInFakeTime(after(60_000));
    expect(resumes).toBe(1);
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
