import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { HtabError } from '../../lib/base/errors.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../migration/harness/test-guest.js';
import { moveGuest } from '../migration/harness/move-guest.js';
import { never, after } from './unsettled-calls.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('the guest of a migration', () => {
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
});
