import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { inDoubtError } from '../../lib/migration/errors.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { linkStreams } from './harness/linked-streams.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { withCalls } from './harness/failing-calls.js';
import { moveGuest, power8 } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a migration id', () => {
  const states = ['pending', 'committed', 'aborted'] as const;
  const sides = ['source', 'destination'] as const;
  const uses = sides.flatMap((side) => states.map((state) => [side, state] as const));

  test.each(uses)(
    'that the journal of the %s has as %s is refused before anything is copied',
    async (side, state) => {
      const guest = await startGuest(200);
      const journal = new MemoryJournal();
      const entry = { side, migrationId: 'twice', order: ORDER, digest: 'ab'.repeat(32) };
      await journal.begin(entry);
      if (state !== 'pending') await journal.decide(side, 'twice', state);
      const onProgress = vi.fn();
      const { sent, target, network } = await moveGuest(guest, {
        send: { migrationId: 'twice', onProgress, ...(side === 'source' && { journal }) },
        receive: side === 'destination' ? { journal } : {},
      });
      expect(reasonOf(sent)).toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        message: expect.stringContaining('twice') as string,
      });
      expect(network.connections).toBe(side === 'source' ? 0 : 1);
      expect(onProgress).not.toHaveBeenCalled();
      expect(target.table).toBeUndefined();
      expect(guest).toMatchObject({ state: 'running', pauses: 0 });
      // What is pending at a source is about another try, whose guest may be at its destination.
      if (side === 'source') expect(await journal.find(side, 'twice')).toEqual({ ...entry, state });
    },
  );

  test('that is in use ends the destination too, where one connection was given', async () => {
    const guest = await startGuest(200);
    const journal = new MemoryJournal();
    await journal.begin({ side: 'source', migrationId: 'twice', order: ORDER, digest: 'ab'.repeat(32) });
    const [ours, theirs] = linkStreams();
    const sending = sendHpt(guest.vm, ours, guest.options({ migrationId: 'twice', journal }));
    const both = Promise.allSettled([sending, receiveHpt(power8(), theirs)]);
    const [sent, received] = await settleInFakeTime(both);
    expect((reasonOf(sent) as Error).message).toContain('twice is pending');
    expect((reasonOf(received) as Error).message).toContain('the source reports: migration twice is pending');
    expect(ours.destroyed).toBe(true);
  });

  test('is not begun under where the journal cannot tell whether it is in use', async () => {
    const guest = await startGuest(200);
    for (const find of [
      () => new Promise<never>(() => undefined),
      () => Promise.reject(inDoubtError('a line is damaged', 'look')),
      () => {
        throw new Error('thrown');
      },
    ]) {
      const journal = withCalls(new MemoryJournal(), { find });
      const { sent, network } = await moveGuest(guest, { send: { journal, timeoutMs: 1000 } });
      expect(reasonOf(sent)).toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        cause: expect.anything() as unknown,
      });
      expect(network.connections).toBe(0);
      expect(guest).toMatchObject({ state: 'running', pauses: 0 });
    }
  });
});
