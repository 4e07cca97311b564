import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { inDoubtError } from '../../lib/migration/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { frameWire } from './harness/faulty-wire.js';
import { power8 } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { Network } from './harness/network.js';
import { reasonOf, useFakeTime } from './harness/test-guest.js';
import { only, TestRest, type Manner, type RestCallName } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('discard', () => {
  test.each<Manner>(['rejects', 'throws', 'hangs', 'late'])(
    'that %s is reported beside the reason',
    async (manner) => {
      const failing = (name: RestCallName): Manner =>
        name === 'accept' ? 'rejects' : name === 'discard' ? manner : 'well';
      const { sent, received, guest, rest } = await moveWhole({ manner: failing });
      expect(reasonOf(received)).toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        message: expect.stringContaining('could not be discarded; do not run the target') as string,
        cause: { message: expect.stringMatching(/rest.accept failed.*; then: rest.discard/) as string },
      });
      expect((reasonOf(sent) as Error).message).toContain('could not be discarded');
      expect(guest.state).toBe('running');
      expect(rest.times('discard')).toBe(1);
    },
  );

  test('comes before the source hears that nothing of its guest is left', async () => {
    const events: string[] = [];
    const rest = new TestRest({ manner: only('accept', 'rejects') });
    const discard = async (reason: unknown): Promise<void> => {
      await rest.destination.discard(reason);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      events.push('discarded');
    };
    await moveWhole(
      {},
      {
        send: {
          rest: rest.source,
          resume: () => {
            events.push('resumed');
            return Promise.resolve();
          },
        },
        receive: { rest: { ...rest.destination, discard } },
      },
    );
    expect(events).toEqual(['discarded', 'resumed']);
  });

  test('is called if no source comes', async () => {
    const rest = new TestRest();
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(receiveHpt(power8(), new Network(), { rest: rest.destination, signal })).rejects.toBe(
      reason,
    );
    expect(rest.discardedFor).toEqual([reason]);
  });

  test('is called once if the source does not come back', async () => {
    const { received, rest } = await moveWhole(
      {},
      {
        send: { maxReconnects: 0 },
        wires: () => ({ fromSource: frameWire((type) => type === 'prepare', 'reset-before') }),
      },
    );
    expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(rest.calls).toEqual(['finish', 'discard']);
  });

  test('is not called while the destination is in doubt', async () => {
    const journal = Object.assign(new MemoryJournal(), {
      decide: () => Promise.reject(inDoubtError('it is not known whether it was written', 'check the disk')),
    });
    const { received, rest } = await moveWhole({}, { receive: { journal }, send: { reconnectMs: 0 } });
    expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
    expect(rest.calls).toEqual(['finish', 'accept']);
  });

  test('is called where the journal refuses the decision', async () => {
    const journal = Object.assign(new MemoryJournal(), { decide: () => Promise.resolve('aborted' as const) });
    const { sent, rest, guest } = await moveWhole({}, { receive: { journal } });
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(rest.calls).toEqual(['finish', 'accept', 'discard']);
    expect(guest.state).toBe('running');
  });
});
