import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { StateEvent } from '../../../lib/migration/events.js';
import type { Journal } from '../../../lib/migration/journal.js';
import { MemoryJournal } from '../../../lib/migration/journal.js';
import type { DestinationState, SourceState } from '../../../lib/migration/two-phase.js';
import { startGuest, useFakeTime } from './machines.js';
import type { Life } from './mortal.js';
import { frameWire } from './wires.js';
import { World, type Verdict, type WorldOptions } from './world.js';

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

async function worldOf(options: Omit<WorldOptions, 'guest'> = {}): Promise<World> {
  return new World({ guest: await startGuest(300), ...options });
}

/** Ends a life right before or after the journal has taken a line. */
function fatalJournal(
  life: () => Life,
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
    const world = await worldOf();
    const struck = when('source', state, () => {
      world.source.kill();
    });
    expect(verdicts).toContain(await world.run());
    expect(struck()).toBe(true);
  });

  test('after its commit was taken learns that the guest has moved', async () => {
    const world = await worldOf();
    const struck = when('destination', 'committed', () => {
      world.source.kill();
    });
    expect(await world.run()).toBe('moved');
    expect(struck()).toBe(true);
  });

  test('while asking is started again, and asks again', async () => {
    const wires = (number: number) =>
      number === 1 ? { fromDestination: frameWire((type) => type === 'committed', 'reset-before') } : {};
    const world = await worldOf({ wires });
    const struck = when('source', 'asking', () => {
      world.source.kill();
    });
    expect(await world.run()).toBe('moved');
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
    const world = await worldOf();
    const struck = when('destination', state, () => {
      world.destination.kill();
    });
    expect(await world.run()).toBe(verdict);
    expect(struck()).toBe(true);
  });

  test.each([
    ['begin', 'before', 'stayed'],
    ['begin', 'after', 'stayed'],
    ['decide', 'before', 'stayed'],
    ['decide', 'after', 'moved'],
  ] as const)('in the %s of its journal, %s the line is written: %s', async (call, moment, verdict) => {
    const lives: Life[] = [];
    const { journal, fatal } = fatalJournal(() => lives[0]!, call, moment);
    const world = await worldOf({ targetJournal: journal, receive: { journal: fatal } });
    lives.push(world.destination);
    expect(await world.run()).toBe(verdict);
    expect(world.destination.over).toBe(true);
  });

  test('and its journal with it leaves the source in doubt, aloud', async () => {
    const world = await worldOf({ receive: { journal: new MemoryJournal() } });
    when('destination', 'committed', () => {
      world.destination.kill();
    });
    await expect(world.run()).rejects.toThrow('has forgotten it');
    expect(world.sent).toMatchObject({ status: 'rejected', reason: { code: 'ERR_HTAB_IN_DOUBT' } });
    expect(world.guest.state).toBe('paused');
  });
});
