import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { describeError } from '../../lib/cli/errors/describe-error.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { cutAfter, linkStreams } from './harness/linked-streams.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';
import { moveGuest, valueOf } from './harness/move-guest.js';
import { diskIsFull, withCalls } from './harness/failing-calls.js';

const never = (): Promise<never> => new Promise(() => undefined);

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a guest that is already paused', () => {
  const paused = { pause: undefined, resume: undefined, alreadyPaused: true } as const;

  test('is moved without being stopped, and no pass says that it ran', async () => {
    const guest = await startGuest(300);
    await guest.pause();
    const seen: boolean[] = [];
    const { sent, target } = await moveGuest(guest, {
      send: { ...paused, onProgress: ({ live }) => void seen.push(live) },
    });
    const report = valueOf(sent);
    expect(report).toMatchObject({ stopMs: undefined, predictedStopMs: undefined });
    // One pass for the table, one that finds nothing more.
    expect(report.passes.map(({ live }) => live)).toEqual([false, false]);
    expect(new Set(seen)).toEqual(new Set([false]));
    expect(await digestOf(target)).toBe(report.digest());
    expect(guest).toMatchObject({ state: 'paused', pauses: 1, resumes: 0 });
  });

  test.each([
    ['the connection breaks', { wires: () => ({ fromSource: cutAfter(9000) }), send: { maxReconnects: 1 } }],
    ['the journal fails', { send: { journal: withCalls(new MemoryJournal(), { begin: diskIsFull }) } }],
    ['the destination gives up', { receive: { expectedOrder: 20 } }],
  ])(
    'is not made to run when %s',
    async (_name, { send, ...fault }: Parameters<typeof moveGuest>[1] & object) => {
      const guest = await startGuest();
      await guest.pause();
      const { sent } = await moveGuest(guest, { ...fault, send: { ...paused, ...send } });
      expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
      expect(guest).toMatchObject({ state: 'paused', pauses: 1, resumes: 0 });
    },
  );

  test('whose table changes all the same is not moved: it runs', async () => {
    const guest = await startGuest(300);
    const { sent } = await moveGuest(guest, {
      send: { ...paused, onProgress: () => guest.workload.step(20) },
    });
    expect((reasonOf(sent) as Error).message).toContain('the table still changes');
    expect(guest).toMatchObject({ pauses: 0, resumes: 0 });
  });

  test('keeps to the rate in its first pass', async () => {
    const guest = await startGuest();
    await guest.pause();
    const begun = performance.now();
    const { sent } = await moveGuest(guest, { send: { ...paused, bytesPerSecond: 10_000 } });
    const [first] = valueOf(sent).passes;
    expect(performance.now() - begun).toBeGreaterThan(((first!.bytes - 2 * 4096) / 10_000) * 1000);
  });

  test('is not moved while an earlier resume of it goes on: it would run here and there', async () => {
    const guest = await startGuest(300);
    const control = { pause: guest.pause, resume: never, guestTimeoutMs: 1000 };
    const journal = withCalls(new MemoryJournal(), { begin: diskIsFull });
    expect(reasonOf((await moveGuest(guest, { send: { ...control, journal } })).sent)).toMatchObject({
      code: 'ERR_HTAB_GUEST_STOPPED',
    });
    const { sent } = await moveGuest(guest, { send: paused });
    expect(reasonOf(sent)).toMatchObject({ state: 'busy' });
  });

  test.each([
    ['neither a control nor the word that it is paused', { pause: undefined, resume: undefined }],
    ['both', { alreadyPaused: true }],
    ['a word that is none', { ...paused, alreadyPaused: 'yes' }],
  ])('has %s: refused, and the channel is left alone', async (_name, options) => {
    const guest = await startGuest(0);
    const [ours] = linkStreams();
    await expect(sendHpt(guest.vm, ours, guest.options(options as never))).rejects.toBeInstanceOf(TypeError);
    expect(ours.destroyed).toBe(false);
  });
});

test('a guest that could not be resumed has a cause that tells both failures', async () => {
  const guest = await startGuest(300);
  const journal = withCalls(new MemoryJournal(), { begin: () => Promise.reject(new Error('disk full')) });
  const resume = (): Promise<never> => Promise.reject(new Error('the monitor is gone'));
  const { sent } = await moveGuest(guest, { send: { journal, resume } });
  const { cause } = reasonOf(sent) as { cause: Error };
  expect(cause.message).toBe(
    'the source does not commit: its journal has not recorded the migration; then: the monitor is gone',
  );
  expect(describeError(reasonOf(sent))).toBe(
    'the guest could not be resumed: it is here, unharmed and stopped: the source does not ' +
      'commit: its journal has not recorded the migration: disk full: the monitor is gone',
  );
});
