import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { HtabError } from '../../lib/base/errors.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { reasonOf, startGuest, useFakeTime } from './harness/test-guest.js';
import type { Wires } from './harness/network.js';
import { frameWire } from './harness/faulty-wire.js';
import { moveGuest, valueOf } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a guest that changes its table too fast', () => {
  const busy = { maxPasses: 2, maxChangedEntries: 0 } as const;

  test.each([
    ['maxPasses', { maxPasses: 1 }, /^too few passes to predict the stop: 1;/],
    [
      'maxChangedEntries',
      { maxChangedEntries: 0, downtimeMs: 10_000 },
      /^the table changes too fast: after 2 passes \d+ entries .* \(at most 0 may\)/,
    ],
    ['downtimeMs', { maxChangedEntries: 2 ** 32, downtimeMs: 50 }, /\(at most 50 ms are allowed\)/],
  ])('is left alone, if that was asked, and the error names %s', async (option, limits, text) => {
    const guest = await startGuest();
    const send = { maxPasses: 2, ...limits, whenNotConverging: 'give-up' } as const;
    const slow = (): void => void vi.advanceTimersByTime(80);
    const script = new FaultScript([{ kind: 'run', call: 'read', times: 100, action: slow }]);
    const source = script.wrapVm(guest.vm);
    const { sent } = await moveGuest(guest, { send, source });
    const error = reasonOf(sent) as HtabError;
    expect(error.message).toMatch(text);
    expect(error).toMatchObject({ code: 'ERR_HTAB_MIGRATION', option });
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test('is slowed down step by step, and moves when that has helped', async () => {
    const guest = await startGuest();
    const steps: number[] = [];
    const options = guest.options();
    const { sent } = await moveGuest(guest, {
      send: {
        ...busy,
        maxChangedEntries: 8,
        whenNotConverging: 'throttle',
        throttle: (step) => {
          steps.push(step);
          return Promise.resolve();
        },
        onProgress: (progress) => {
          if (steps.length < 3) options.onProgress!(progress);
        },
      },
    });
    expect(valueOf(sent).predictedStopMs).toBeGreaterThanOrEqual(0);
    expect(steps.slice(0, 3)).toEqual([1, 2, 3]);
    expect(steps).not.toContain(0);
  });

  test('gets its full speed back when slowing it down has not helped', async () => {
    const guest = await startGuest();
    const steps: number[] = [];
    const throttle = (step: number): Promise<void> => {
      steps.push(step);
      return Promise.resolve();
    };
    const send = { ...busy, whenNotConverging: 'throttle', throttle, maxThrottleSteps: 2 } as const;
    const { sent } = await moveGuest(guest, { send });
    expect((reasonOf(sent) as Error).message).toContain('the table changes too fast');
    expect(steps).toEqual([1, 2, 0]);
  });

  test('does not stand still for longer than the limit before the commit', async () => {
    const guest = await startGuest();
    const wires = (): Wires => ({ fromSource: frameWire((type) => type === 'prepare', 'stall') });
    const { sent } = await moveGuest(guest, { wires, send: { stopLimitMs: 5000 } });
    expect((reasonOf(sent) as Error).message).toContain('the guest reached its stop limit of 5000 ms');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });

  test('does not stand still for longer than the limit for the journal either', async () => {
    const guest = await startGuest();
    const journal = new MemoryJournal();
    vi.spyOn(journal, 'begin').mockReturnValue(new Promise(() => undefined));
    const { sent } = await moveGuest(guest, { send: { stopLimitMs: 5000, journal } });
    const { cause } = reasonOf(sent) as Error;
    expect((cause as Error).message).toContain('the guest reached its stop limit of 5000 ms');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });
});
