import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { OutcomeEvent } from '../../lib/migration/events.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import type { HtabHandle } from '../../lib/vm/contract.js';
import { cutAfter, linkStreams } from './harness/linked-streams.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { power8 } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

/** A descriptor of which one call of `close` closes it, and fails all the same. */
function failingClose(
  handle: HtabHandle,
  nth: number,
): { readonly handle: HtabHandle; readonly closes: number } {
  const close = handle.close.bind(handle);
  let closes = 0;
  handle.close = async () => {
    await close();
    if (++closes === nth) throw new HtabSystemError('close', 'EIO', { operation: 'close a descriptor' });
  };
  return {
    handle,
    get closes() {
      return closes;
    },
  };
}

describe('adopted descriptors', () => {
  test.each([1, 2])(
    'that cannot be closed leave it at that: the guest has moved (call %i fails)',
    async (nth) => {
      const guest = await startGuest();
      const target = power8();
      await target.allocateHpt(ORDER);
      const source = failingClose(await guest.vm.openHtab(), nth);
      const sink = failingClose(await target.openHtab({ access: 'write' }), nth);
      const outcomes: unknown[] = [];
      const listener = (event: unknown): void => {
        const { side, outcome } = event as OutcomeEvent;
        outcomes.push(`${side}: ${outcome}`);
      };
      subscribe('kvm-htab:outcome', listener);
      const [ours, theirs] = linkStreams();
      const ended = await settleInFakeTime(
        Promise.allSettled([
          sendHpt({ handle: source.handle, order: ORDER, backend: 'emulated' }, ours, guest.options()),
          receiveHpt({ handle: sink.handle, order: ORDER, backend: 'emulated' }, theirs),
        ]),
      );
      unsubscribe('kvm-htab:outcome', listener);
      expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
      expect(outcomes.sort()).toEqual(['destination: moved', 'source: moved']);
      expect([source.closes, sink.closes]).toEqual([2, 2]);
      expect(guest).toMatchObject({ state: 'paused', resumes: 0 });
    },
  );

  test.each([1, 2])('that cannot be closed do not hide what has failed (call %i fails)', async (nth) => {
    const guest = await startGuest(300);
    const target = power8();
    await target.allocateHpt(ORDER);
    const { handle } = failingClose(await guest.vm.openHtab(), nth);
    const sink = failingClose(await target.openHtab({ access: 'write' }), nth);
    const [ours, theirs] = linkStreams();
    const pause = (): Promise<never> => Promise.reject(new Error('no'));
    const [sent, received] = await settleInFakeTime(
      Promise.allSettled([
        sendHpt({ handle, order: ORDER, backend: 'emulated' }, ours, guest.options({ pause })),
        receiveHpt({ handle: sink.handle, order: ORDER, backend: 'emulated' }, theirs),
      ]),
    );
    expect(reasonOf(sent)).toMatchObject({ message: 'no' });
    expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
  });

  test('that cannot be closed leave no half a table in the target, and are not what the error is about', async () => {
    const guest = await startGuest();
    const target = power8();
    const openHtab = target.openHtab.bind(target);
    target.openHtab = async (options) => failingClose(await openHtab(options), 1).handle;
    const [ours, theirs] = linkStreams(cutAfter(12_000));
    const [, received] = await settleInFakeTime(
      Promise.allSettled([sendHpt(guest.vm, ours, guest.options()), receiveHpt(target, theirs)]),
    );
    expect((reasonOf(received) as Error).message).toContain('the connection ended');
    expect(target.table!.validCount).toBe(0);
  });
});
