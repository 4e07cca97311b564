import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { StateEvent } from '../../lib/migration/events.js';
import type { Journal } from '../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import type { DestinationState, SourceState } from '../../lib/migration/states.js';
import { startGuest, useFakeTime } from './harness/test-guest.js';
import type { MortalProcess } from './harness/mortal-process.js';
import { frameWire } from './harness/faulty-wire.js';
import { TwoHosts, type Verdict } from './harness/two-hosts.js';
import type { TwoHostsOptions } from './harness/two-hosts-options.js';

/** Lets `strike` happen when a side comes to a state. */
function when(side: StateEvent['side'], state: StateEvent['state'], strike: () => void): () => boolean {
  let struck = false;
  const listener = (event: unknown): void => {
    const { side: seenSide, state: seenState } = event as StateEvent;
    if (struck || seenSide !== side || seenState !== state) return;
    struck = true;
    strike();
  };
  subscribe('kvm-htab:state', listener);
  cleanup.push(() => unsubscribe('kvm-htab:state', listener));
  return () => struck;
}

const cleanup: (() => void)[] = [];
beforeEach(useFakeTime);
afterEach(() => {
  vi.useRealTimers();
  for (const undo of cleanup.splice(0)) undo();
});

async function twoHosts(options: Omit<TwoHostsOptions, 'guest'> = {}): Promise<TwoHosts> {
  return new TwoHosts({ guest: await startGuest(300), ...options });
}

/** Ends a life right before or after the journal has taken a line. */
function fatalJournal(
  life: () => MortalProcess,
  call: 'begin' | 'decide',
  moment: 'before' | 'after',
): { journal: Journal; fatal: Journal } {
  const journal = new MemoryJournal();
  const fatal = new MemoryJournal();
  const around = async <T>(action: () => Promise<T>): Promise<T> => {
    if (moment === 'before') life().kill();
    if (moment === 'before') return new Promise<never>(() => undefined);
    const result = await action();
    life().kill();
    return result;
  };
  fatal.entries = (side) => journal.entries(side);
  fatal.find = (side, id) => journal.find(side, id);
  fatal.begin = (record) => (call === 'begin' ? around(() => journal.begin(record)) : journal.begin(record));
  fatal.decide = (side, id, decision) =>
    call === 'decide' ? around(() => journal.decide(side, id, decision)) : journal.decide(side, id, decision);
  return { journal, fatal };
}

describe('a source that dies', () => {
  test.each<[SourceState, Verdict[]]>([
    ['connecting', ['stayed']],
    ['copying', ['stayed']],
    ['stopped', ['stayed']],
    // Its journal has the migration as pending, but the commit was never sent.
    ['committing', ['stayed', 'moved']],
  ])('while %s is started again and finds out whose the guest is', async (state, verdicts) => {
    const hosts = await twoHosts();
    const struck = when('source', state, () => {
      hosts.source.kill();
    });
    expect(verdicts).toContain(await hosts.run());
    expect(struck()).toBe(true);
  });

  test('after its commit was taken learns that the guest has moved', async () => {
    const hosts = await twoHosts();
    const struck = when('destination', 'committed', () => {
      hosts.source.kill();
    });
    expect(await hosts.run()).toBe('moved');
    expect(struck()).toBe(true);
  });

  test('while asking is started again, and asks again', async () => {
    const wires = (number: number) =>
      number === 1 ? { fromDestination: frameWire((type) => type === 'committed', 'reset-before') } : {};
    const hosts = await twoHosts({ wires });
    const struck = when('source', 'asking', () => {
      hosts.source.kill();
    });
    expect(await hosts.run()).toBe('moved');
    expect(struck()).toBe(true);
  });
});

describe('a destination that dies', () => {
  test.each<[DestinationState, Verdict]>([
    ['copying', 'stayed'],
    ['prepared', 'stayed'],
    ['deciding', 'stayed'],
    ['committed', 'moved'],
  ])('when it is %s, and is started again, answers from its journal', async (state, verdict) => {
    const hosts = await twoHosts();
    const struck = when('destination', state, () => {
      hosts.destination.kill();
    });
    expect(await hosts.run()).toBe(verdict);
    expect(struck()).toBe(true);
  });

  test.each([
    ['begin', 'before', 'stayed'],
    ['begin', 'after', 'stayed'],
    ['decide', 'before', 'stayed'],
    ['decide', 'after', 'moved'],
  ] as const)('in the %s of its journal, %s the line is written: %s', async (call, moment, verdict) => {
    const lives: MortalProcess[] = [];
    const { journal, fatal } = fatalJournal(() => lives[0]!, call, moment);
    const hosts = await twoHosts({ targetJournal: journal, receive: { journal: fatal } });
    lives.push(hosts.destination);
    expect(await hosts.run()).toBe(verdict);
    expect(hosts.destination.over).toBe(true);
  });

  test('and its journal with it leaves the source in doubt, aloud', async () => {
    const hosts = await twoHosts({ receive: { journal: new MemoryJournal() } });
    when('destination', 'committed', () => {
      hosts.destination.kill();
    });
    await expect(hosts.run()).rejects.toThrow('has forgotten it');
    expect(hosts.sent).toMatchObject({ status: 'rejected', reason: { code: 'ERR_HTAB_IN_DOUBT' } });
    expect(hosts.guest.state).toBe('paused');
  });
});
