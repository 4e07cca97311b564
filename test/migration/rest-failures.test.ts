import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { channels, type OutcomeEvent } from '../../lib/migration/events.js';
import { inDoubtError } from '../../lib/migration/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import type { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { frameWire } from './harness/faulty-wire.js';
import { power8, valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { Network } from './harness/network.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { TestRest, type Manner, type RestCallName } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

/** One call of the agent's goes in this manner, the first time or always. */
const only =
  (name: RestCallName, manner: Manner, nth = Infinity) =>
  (called: RestCallName, number: number): Manner =>
    called === name && number <= nth ? manner : 'well';

/** What a migration of this process ends with. */
function outcomes(): OutcomeEvent[] {
  const seen: OutcomeEvent[] = [];
  const listener = (event: OutcomeEvent): void => void seen.push(event);
  channels.outcome.subscribe(listener);
  onTestFinished(() => {
    channels.outcome.unsubscribe(listener);
  });
  return seen;
}

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

describe('run', () => {
  test.each<Manner>(['rejects', 'throws', 'hangs', 'late'])(
    'that %s leaves a guest that has moved and is not known to run, and says so',
    async (manner) => {
      const seen = outcomes();
      const journal = new MemoryJournal();
      const { sent, received, rest, guest } = await moveWhole(
        { manner: only('run', manner) },
        { receive: { journal } },
      );
      expect(valueOf(sent).acknowledged).toBe('directly');
      expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_GUEST_STOPPED' });
      expect((reasonOf(received) as Error).message).toContain(
        'the guest has moved here and is not known to run',
      );
      expect(seen.map(({ side, outcome }) => `${side} ${outcome}`).sort()).toEqual([
        'destination moved',
        'source moved',
      ]);
      expect(await journal.entries('destination')).toMatchObject([{ state: 'committed' }]);
      expect(rest.calls).toEqual(['finish', 'accept', 'run']);
      expect(guest.state).toBe('paused');
    },
  );

  test('is not called before the decision stands', async () => {
    const rest = new TestRest();
    const journal = new MemoryJournal();
    const states: unknown[] = [];
    const run = async (): Promise<void> => {
      states.push(...(await journal.entries('destination')).map(({ state }) => state));
      await rest.destination.run();
    };
    await moveWhole(
      {},
      { send: { rest: rest.source }, receive: { journal, rest: { ...rest.destination, run } } },
    );
    expect(states).toEqual(['committed']);
  });

  test('is not kept back by a descriptor that does not close', async () => {
    const { sent, received, rest } = await moveWhole({}, { target: neverClosing() });
    expect(valueOf(received).digest()).toBe(valueOf(sent).digest());
    expect(rest.calls).toEqual(['finish', 'accept', 'run']);
  });
});

test('a doubt is said aloud, though a descriptor does not close', async () => {
  const journal = Object.assign(new MemoryJournal(), {
    decide: () => Promise.reject(inDoubtError('it is not known whether it was written', 'check the disk')),
  });
  const { received, rest } = await moveWhole(
    {},
    { receive: { journal }, send: { reconnectMs: 0 }, target: neverClosing() },
  );
  expect(reasonOf(received)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
  expect(rest.calls).toEqual(['finish', 'accept']);
});

describe('a failed migration whose target', () => {
  const failing = { manner: only('accept', 'rejects') };

  test.each([
    ['has a descriptor that does not close', () => neverClosing()],
    ['does not get an empty table', () => neverEmptied()],
  ])('%s ends once the time for it is over, says so, and discards the rest', async (_, target) => {
    const { sent, received, guest, rest } = await moveWhole(failing, {
      target: target(),
      receive: { guestTimeoutMs: 5000 },
    });
    expect(reasonOf(received)).toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
      message: expect.stringContaining('could not be emptied; do not run the target') as string,
      cause: {
        message: expect.stringMatching(/rest.accept failed.*; then: emptying .* within 5000 ms/) as string,
      },
    });
    expect((reasonOf(sent) as Error).message).toContain('could not be emptied');
    expect(guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(rest.calls).toEqual(['finish', 'accept', 'discard']);
    expect(rest.discardedFor).toEqual([reasonOf(received)]);
  });

  test('is a descriptor that does not close has an empty table', async () => {
    const guest = await startGuest(500);
    const rest = new TestRest(failing);
    const vm = power8();
    await vm.allocateHpt(ORDER);
    const handle = Object.assign(await vm.openHtab({ access: 'write' }), { close: neverSettles });
    const network = new Network();
    const sending = sendHpt(guest.vm, network.connect, guest.options({ rest: rest.source }));
    const receiving = receiveHpt({ handle, order: ORDER, backend: 'emulated' }, network, {
      rest: rest.destination,
    });
    const [sent, received] = await settleInFakeTime(Promise.allSettled([sending, receiving]));
    expect((reasonOf(received) as Error).message).toContain('rest.accept failed');
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(vm.table!.validCount).toBe(0);
    expect(rest.times('discard')).toBe(1);
  });
});

const neverSettles = (): Promise<void> => new Promise(() => undefined);

function neverEmptied(): EmulatedVm {
  const vm = power8();
  const allocate = vm.allocateHpt.bind(vm);
  let tables = 0;
  vm.allocateHpt = (order) => (++tables > 1 ? neverSettles() : allocate(order));
  return vm;
}

function neverClosing(): EmulatedVm {
  const vm = power8();
  const open = vm.openHtab.bind(vm);
  vm.openHtab = async (options) => Object.assign(await open(options), { close: neverSettles });
  return vm;
}
