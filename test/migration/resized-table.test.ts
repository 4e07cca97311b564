import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { resizeTable } from '../../lib/testing/resize.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { linkStreams } from './harness/linked-streams.js';
import type { TestGuest } from './harness/test-guest.js';
import { ORDER, bootGuest, digestOf, reasonOf, settleInFakeTime, useFakeTime } from './harness/test-guest.js';
import { moveGuest, power8, valueOf } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a table that is resized in mid-migration', () => {
  function resizing(guest: TestGuest, times: number, order = ORDER + 1): HtabVm {
    const action = async (): Promise<void> => {
      await resizeTable(guest.vm, order);
      guest.workload.step(2000);
    };
    return new FaultScript([{ kind: 'run', call: 'read', nth: 4, times, action }]).wrapVm(guest.vm);
  }

  test('is moved from the start, with its new order', async () => {
    const guest = await bootGuest();
    const { sent, received, target } = await moveGuest(guest, { source: resizing(guest, 1) });
    expect(valueOf(sent)).toMatchObject({ order: ORDER + 1, attempts: 2 });
    expect(valueOf(received).order).toBe(ORDER + 1);
    expect(await digestOf(target)).toBe(await digestOf(guest.vm));
  });

  test('is refused by name where there is only one connection', async () => {
    const guest = await bootGuest();
    const [ours, theirs] = linkStreams();
    const sending = sendHpt(resizing(guest, 1), ours, guest.options());
    const [sent, received] = await settleInFakeTime(
      Promise.allSettled([sending, receiveHpt(power8(), theirs)]),
    );
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'order-changed' });
    expect(received.status).toBe('rejected');
  });

  test.each([true, false])(
    'to the order it had, which shows in its content only, is moved from the start too, recheckSource %j',
    async (recheckSource) => {
      const guest = await bootGuest();
      const { sent, target } = await moveGuest(guest, {
        source: resizing(guest, 1, ORDER),
        send: { recheckSource },
      });
      expect(valueOf(sent)).toMatchObject({ attempts: 2, sourceRechecked: true });
      expect(await digestOf(target)).toBe(await digestOf(guest.vm));
      expect(guest).toMatchObject({ state: 'paused', pauses: 2, resumes: 1 });
    },
  );

  test('to the order it had is named where there is only one connection, and the target is not blamed', async () => {
    const guest = await bootGuest();
    const [ours, theirs] = linkStreams();
    const sending = sendHpt(resizing(guest, 1, ORDER), ours, guest.options());
    const [sent] = await settleInFakeTime(Promise.allSettled([sending, receiveHpt(power8(), theirs)]));
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'replaced' });
    expect((reasonOf(sent) as Error).message).toContain('the guest was reset or its table resized');
    expect((reasonOf(sent) as Error).message).not.toContain('target');
    expect(guest.state).toBe('running');
  });

  test('is given up after so many restarts', async () => {
    const guest = await bootGuest();
    const { sent } = await moveGuest(guest, {
      source: resizing(guest, 1),
      send: { maxRestarts: 0 },
    });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'order-changed' });
  });
});
