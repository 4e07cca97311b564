import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import type { Journal } from '../../lib/migration/journal/journal.js';
import { startGuest, useFakeTime } from './harness/test-guest.js';
import { TestRest, type Manner, type RestCallName } from './harness/test-rest.js';
import { MIGRATION_ID, TwoHosts } from './harness/two-hosts.js';
import { settleArrivals } from './successor-example.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

type Side = 'source' | 'destination';

/** A whole guest between two hosts, one of which dies when this is called. */
async function twoHosts(
  victim: Side,
  strikes: (name: RestCallName) => boolean,
  more: {
    manner?: (name: RestCallName) => Manner;
    journal?: (kill: () => void, of: Journal) => Journal;
  } = {},
) {
  const kill = (): void => {
    hosts[victim].kill();
  };
  const rest = new TestRest({
    manner: (name) => {
      if (strikes(name)) kill();
      return more.manner?.(name) ?? 'well';
    },
    stateBytes: 100,
  });
  const targetJournal = new MemoryJournal();
  const hosts: TwoHosts = new TwoHosts({
    guest: await startGuest(300),
    rest,
    targetJournal,
    ...(more.journal && { receive: { journal: more.journal(kill, targetJournal) } }),
  });
  return { hosts, rest, stateOf: async () => (await targetJournal.find('destination', MIGRATION_ID))?.state };
}

describe('a source that dies', () => {
  test('in finish has its guest, and what came of the rest is discarded once', async () => {
    const { hosts, rest, stateOf } = await twoHosts('source', (name) => name === 'finish');
    expect(await hosts.run()).toBe('stayed');
    expect(hosts.source.over).toBe(true);
    expect(rest.calls).toEqual(['finish', 'discard']);
    expect(await stateOf()).toBe(undefined);
  });

  test.each(['accept', 'run'] as const)('while the destination is in %s', async (during) => {
    const { hosts, rest } = await twoHosts('source', (name) => name === during);
    expect(await hosts.run()).toBe(during === 'run' ? 'moved' : 'stayed');
    expect(hosts.source.over).toBe(true);
    expect(rest.calls).toEqual(['finish', 'accept', during === 'run' ? 'run' : 'discard']);
  });
});

describe('a destination that dies', () => {
  test.each([
    ['accept', 'stayed', undefined],
    ['run', 'moved', 'committed'],
  ] as const)('in %s leaves the guest where its journal says: %s', async (during, verdict, state) => {
    const { hosts, rest, stateOf } = await twoHosts('destination', (name) => name === during);
    expect(await hosts.run()).toBe(verdict);
    expect(hosts.destination.over).toBe(true);
    expect(rest.calls).toEqual(during === 'run' ? ['finish', 'accept', 'run'] : ['finish', 'accept']);
    expect(await stateOf()).toBe(state);
  });

  test('in discard leaves the guest at its source, which does not wait for more', async () => {
    const { hosts, rest } = await twoHosts('destination', (name) => name === 'discard', {
      manner: (name) => (name === 'accept' ? 'rejects' : 'well'),
    });
    expect(await hosts.run()).toBe('stayed');
    expect(rest.calls).toEqual(['finish', 'accept', 'discard']);
  });

  test.each([
    ['begin', 'before', 'stayed', undefined],
    ['begin', 'after', 'stayed', 'pending'],
    ['decide', 'before', 'stayed', 'aborted'],
    ['decide', 'after', 'moved', 'committed'],
  ] as const)(
    'between accept and run, in the %s of its journal, %s the line is written: %s',
    async (call, moment, verdict, state) => {
      const { hosts, rest, stateOf } = await twoHosts('destination', () => false, {
        journal: (kill, of) => fatal(of, call, moment, kill),
      });
      expect(await hosts.run()).toBe(verdict);
      expect(hosts.destination.over).toBe(true);
      // Of a guest that is committed and does not run only the journal tells: its successor runs it.
      expect(rest.calls).toEqual(['finish', 'accept']);
      expect(await stateOf()).toBe(state);
    },
  );
});

describe('the successor of a destination', () => {
  /** What is left of a guest on the host whose process has died; it runs as soon as its VMM has been told. */
  function remains(rest: TestRest, told: boolean) {
    const acts: string[] = [];
    const act = (name: string) => (): Promise<void> => Promise.resolve(void acts.push(name));
    const hasRun = (): Promise<boolean> => Promise.resolve(told && rest.times('run') > 0);
    return { acts, arrival: { migrationId: MIGRATION_ID, hasRun, run: act('run'), discard: act('discard') } };
  }

  test.each([
    ['in accept', 'accept', true, ['discard']],
    ['in run, before its VMM was told', 'run', false, ['run']],
    ['in run, after its VMM was told', 'run', true, []],
  ] as const)('that died %s does what is left to do, and once', async (_, during, told, expected) => {
    const { hosts, rest } = await twoHosts('destination', (name) => name === during);
    await hosts.run();
    const { acts, arrival } = remains(rest, told);
    await settleArrivals(hosts.targetJournal, [arrival]);
    expect(acts).toEqual(expected);
  });

  test.each([
    ['begin', 'before', ['discard']],
    ['begin', 'after', ['discard']],
    ['decide', 'before', ['discard']],
    ['decide', 'after', ['run']],
  ] as const)(
    'that died in the %s of its journal, %s the line is written',
    async (call, moment, expected) => {
      const { hosts, rest } = await twoHosts('destination', () => false, {
        journal: (kill, of) => fatal(of, call, moment, kill),
      });
      await hosts.run();
      const { acts, arrival } = remains(rest, true);
      await settleArrivals(hosts.targetJournal, [arrival]);
      expect(acts).toEqual(expected);
      expect(hosts.guest.state).toBe(expected[0] === 'run' ? 'paused' : 'running');
    },
  );

  test('refuses what its source may still commit', async () => {
    const journal = new MemoryJournal();
    const record = { migrationId: MIGRATION_ID, order: 18, digest: '00'.repeat(32) };
    await journal.begin({ side: 'destination', ...record });
    const { acts, arrival } = remains(new TestRest(), true);
    await settleArrivals(journal, [arrival]);
    expect(acts).toEqual(['discard']);
    expect(await journal.decide('destination', MIGRATION_ID, 'committed')).toBe('aborted');
  });
});

/** A journal in one of whose calls its process dies. */
function fatal(
  journal: Journal,
  name: 'begin' | 'decide',
  moment: 'before' | 'after',
  kill: () => void,
): Journal {
  const mortal = Object.assign(new MemoryJournal(), {
    entries: journal.entries.bind(journal),
    find: journal.find.bind(journal),
    begin: journal.begin.bind(journal),
    decide: journal.decide.bind(journal),
    [name]: async (...args: never[]): Promise<unknown> => {
      if (moment === 'after') await (journal[name] as (...all: never[]) => Promise<unknown>)(...args);
      kill();
      return new Promise<never>(() => undefined);
    },
  });
  return mortal;
}
