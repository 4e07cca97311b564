import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import type { GuestCallbacks } from '../../lib/precopy/guest-options.js';
import type { SendOptions } from '../../lib/migration/source/send.js';
import { saveSnapshot } from '../../lib/snapshot/save.js';
import { scratchFiles } from '../scratch.js';
import { reasonOf, settleInFakeTime, startGuest, useFakeTime } from '../migration/harness/test-guest.js';
import { moveGuest } from '../migration/harness/move-guest.js';
import { withCalls } from '../migration/harness/failing-calls.js';
import { never, after } from './unsettled-calls.js';

const scratch = scratchFiles();

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('the guest of a migration', () => {
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
});
