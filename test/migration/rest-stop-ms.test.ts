import { afterEach, describe, expect, test, vi } from 'vitest';
import { isHtabError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { FarRest, moveToEmptyRest } from './harness/far-rest.js';
import { valueOf } from './harness/move-guest.js';
import type { Network } from './harness/network.js';
import { digestOf, reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';

afterEach(() => vi.useRealTimers());

describe("a rest's stopMs", () => {
  test.each([
    ['throws', () => Promise.reject(new Error('no such VMM')), /stopMs failed/],
    ['gives NaN', () => NaN, /stopMs gave NaN/],
    ['gives less than 0', () => -1, /stopMs gave -1/],
    ['gives a text', () => '12' as unknown as number, /stopMs gave 12/],
    ['gives nothing', () => undefined as unknown as number, /stopMs gave undefined/],
    ['hangs', () => new Promise<number>(() => undefined), /stopMs did not settle within 5000 ms/],
  ])('that %s ends the migration, and the guest runs on', async (_name, stopMs, message) => {
    const guest = await startGuest();
    useFakeTime();
    const { sent } = await moveToEmptyRest(guest, {
      send: { rest: { stopMs, finish: () => Promise.resolve(undefined) }, guestTimeoutMs: 5000 },
    });
    const reason = reasonOf(sent);
    expect(isHtabError(reason)).toBe(true);
    expect(String(reason)).toMatch(message);
    expect(guest.state).toBe('running');
    expect(guest.pauses).toBe(0);
  });

  test('is not waited for once the connection has broken: the next one asks again', async () => {
    const guest = await startGuest();
    useFakeTime();
    const network: { now?: Network } = {};
    let asked = 0;
    const stopMs = (): number | Promise<number> => {
      if (++asked > 1) return 0;
      setTimeout(() => network.now!.channels[0]!.destroy(), 500);
      return new Promise(() => undefined);
    };
    const { sent, target } = await moveToEmptyRest(guest, {
      send: { rest: { stopMs, finish: () => Promise.resolve(undefined) } },
      begun: (begun) => (network.now = begun),
    });
    expect(valueOf(sent).attempts).toBe(2);
    expect(asked).toBeGreaterThan(1);
    expect(await digestOf(target)).toBe(digestTable(guest.vm.table!));
  });

  test('is not waited for once the signal has aborted', async () => {
    const guest = await startGuest();
    useFakeTime();
    const interrupt = new AbortController();
    const reason = new Error('enough');
    const stopMs = (): Promise<number> => {
      setTimeout(() => {
        interrupt.abort(reason);
      }, 500);
      return new Promise(() => undefined);
    };
    const { sent } = await moveToEmptyRest(guest, {
      send: { rest: { stopMs, finish: () => Promise.resolve(undefined) }, signal: interrupt.signal },
    });
    expect(reasonOf(sent)).toBe(reason);
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test('is not asked of a guest that is paused already', async () => {
    const guest = await startGuest();
    await guest.pause();
    useFakeTime();
    const rest = new FarRest();
    const { sent } = await moveToEmptyRest(guest, {
      send: { rest, alreadyPaused: true, pause: undefined, resume: undefined },
    });
    expect(valueOf(sent).stopMs).toBeUndefined();
    expect(rest.asked).toBe(0);
  });
});
