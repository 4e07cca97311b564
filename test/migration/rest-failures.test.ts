import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import type { Network } from './harness/network.js';
import { reasonOf, useFakeTime } from './harness/test-guest.js';
import { only, type Manner, type RestCallName } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe.each(['finish', 'accept'] as const)('%s', (name) => {
  test.each<Manner>(['rejects', 'throws'])(
    'that %s ends the migration, and its guest runs on',
    async (manner) => {
      const { sent, received, guest, rest, network, target } = await moveWhole({
        manner: only(name, manner),
      });
      const said = `rest.${name} failed: ${name} has ${manner === 'throws' ? 'thrown' : 'failed'}`;
      expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
      expect((reasonOf(sent) as Error).message).toContain(said);
      expect((reasonOf(received) as Error).message).toContain(said);
      expect(guest).toMatchObject({ state: 'running', resumes: 1 });
      expect(network.connections).toBe(1);
      expect(rest.calls).toEqual(name === 'finish' ? ['finish', 'discard'] : ['finish', 'accept', 'discard']);
      expect(rest.discardedFor).toEqual([reasonOf(received)]);
      expect(target.table!.validCount).toBe(0);
    },
  );

  test.each<Manner>(['hangs', 'obeys', 'late'])('that %s is bounded by the stop limit', async (manner) => {
    const { sent, received, guest, rest, network } = await moveWhole(
      { manner: only(name, manner) },
      { send: { stopLimitMs: 5000 } },
    );
    expect(reasonOf(sent)).toMatchObject({ option: 'stopLimitMs' });
    expect((reasonOf(received) as Error).message).toContain('stop limit of 5000 ms');
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(rest.signals.at(-1)!.aborted).toBe(true);
    expect(rest.times('discard')).toBe(1);
    expect(rest.times(name)).toBe(1);
    expect(network.connections).toBe(1);
  });

  test.each<Manner>(['late', 'plain'])('that ends %s is waited for', async (manner) => {
    const { sent, received, rest } = await moveWhole({ manner: only(name, manner), stateBytes: 9 });
    expect(valueOf(sent).digest()).toBe(valueOf(received).digest());
    expect(rest.calls).toEqual(['finish', 'accept', 'run']);
  });

  test.each([
    ['ends in time is not called before', 90_000, 'late'],
    ['obeys its signal is called again', 30_000, 'obeys'],
  ] as const)('of a connection that broke, which %s', async (_, guestTimeoutMs, manner) => {
    const { sent, guest, rest } = await breakDuring(name, manner, guestTimeoutMs);
    expect(valueOf(sent).attempts).toBe(2);
    expect(guest).toMatchObject({ state: 'paused', pauses: 2, resumes: 1 });
    expect(rest.times(name)).toBe(2);
    expect(rest.signals[rest.calls.indexOf(name)]!.aborted).toBe(true);
    expect(rest.calls.slice(-2)).toEqual(['accept', 'run']);
  });

  test.each<Manner>(['late', 'hangs'])(
    'of a connection that broke, which %s, ends the migration once its time is over',
    async (manner) => {
      const { sent, received, guest, rest } = await breakDuring(name, manner, 20_000);
      const busy = name === 'finish' ? reasonOf(sent) : reasonOf(received);
      expect(busy).toMatchObject({ code: 'ERR_HTAB_STATE', state: 'busy' });
      expect((reasonOf(sent) as Error).message).toContain(
        `an earlier call of rest.${name} did not end within 20000 ms`,
      );
      expect(guest.state).toBe('running');
      expect(rest.times(name)).toBe(1);
      expect(rest.times('discard')).toBe(1);
    },
  );
});

/** The first connection is gone a moment after this is called for the first time. */
function breakDuring(name: RestCallName, manner: Manner, guestTimeoutMs: number) {
  const lost: { network?: Network } = {};
  return moveWhole(
    {
      manner: (called, nth) => {
        if (called !== name || nth > 1) return 'well';
        setTimeout(() => lost.network!.channels[0]!.destroy(), 500);
        return manner;
      },
    },
    {
      send: { guestTimeoutMs },
      receive: { guestTimeoutMs },
      begun: (network) => (lost.network = network),
    },
  );
}
