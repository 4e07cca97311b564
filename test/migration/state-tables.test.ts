import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { digestTable } from '../../lib/hpt/digest.js';
import type { Side } from '../../lib/migration/journal/journal.js';
import {
  DESTINATION_STATES,
  SOURCE_STATES,
  type Allowed,
  type DestinationState,
  type SourceState,
} from '../../lib/migration/states.js';
import {
  cellsOf,
  checks,
  destinationCases,
  rowOf,
  sourceCases,
  type FaultCase,
} from './harness/fault-cases.js';
import { DESTINATION_TABLE, SOURCE_TABLE, followersOf } from './harness/state-tables.js';
import { startGuest, useFakeTime } from './harness/test-guest.js';
import { FaultPoint, type State } from './harness/fault-point.js';
import { TwoHosts } from './harness/two-hosts.js';

// Every cell of the tables in harness/state-tables.ts.

/** The states that a migration may enter from a state by itself. */
const GOES_ON: Partial<Record<State, readonly State[]>> = {
  connecting: ['connecting', 'copying'],
  copying: ['stopped', 'prepared'],
  stopped: ['committing'],
  committing: ['moved'],
  asking: ['moved'],
  // A source need not come back.
  waiting: ['copying', 'aborted'],
  prepared: ['deciding'],
  deciding: ['committed'],
};

/** Checks what the row says is true whenever a side enters its state. */
function checkRow(side: Side, state: State, { guest, target, runsAtTarget }: TwoHosts): void {
  if (side === 'source') {
    const { guestRuns } = SOURCE_TABLE[state as SourceState];
    expect(guest.state, `the guest of a source in state ${state}`).toBe(guestRuns ? 'running' : 'paused');
    return;
  }
  const { table } = DESTINATION_TABLE[state as DestinationState];
  expect(runsAtTarget, `a guest runs at a destination in state ${state}`).toBe(false);
  if (table === 'nothing') expect(target.table?.validCount ?? 0, `entries when ${state}`).toBe(0);
  if (table === 'all') expect(digestTable(target.table!), state).toBe(digestTable(guest.vm.table!));
}

async function exercise({ side, state, event, then, set }: FaultCase): Promise<void> {
  const point = new FaultPoint(side, state);
  const hosts = new TwoHosts({ guest: await startGuest(60), ...set(point) });
  // It throws unless the guest ends at one side, and nothing is left open.
  const check = (now: State): void => {
    checkRow(side, now, hosts);
  };
  await point.watch(hosts, check, () => hosts.run());
  await Promise.all(checks);

  expect(point.struck, 'the event happened').toBe(true);
  const expected = then.filter((next, k) => next !== (then[k - 1] ?? state));
  const seen = point.after.slice(0, Math.max(1, expected.length));
  if (expected.length > 0) expect(seen).toEqual(expected);
  else if (seen.length > 0 && event !== 'it is killed') expect(GOES_ON[state]).toContain(seen[0]);
}

test.each(['source', 'destination'] as const)(
  'a %s may enter exactly the states that follow in its table',
  (side) => {
    const allowed: Allowed<string> = side === 'source' ? SOURCE_STATES : DESTINATION_STATES;
    const table = side === 'source' ? SOURCE_TABLE : DESTINATION_TABLE;
    const others = (state: string, states: Iterable<string>): string[] =>
      [...states].filter((next) => next !== state).sort();
    const may = Object.entries(allowed).map(([state, next]) => [state, others(state, next)]);
    const follow = (Object.keys(table) as State[]).map((state) => {
      return [state, others(state, followersOf<string>(rowOf(side, state)))];
    });
    expect(may).toEqual(follow);
  },
);

const CASES = { source: [...sourceCases()], destination: [...destinationCases()] };

beforeEach(useFakeTime);
afterEach(() => {
  vi.useRealTimers();
  checks.length = 0;
});

describe.each(['source', 'destination'] as const)('a %s in state', (side) => {
  const cases = CASES[side].map((one) => {
    const next = one.then.length === 0 ? '' : `, enters ${one.then.join(', then ')}`;
    return [`${one.state}, when ${one.event}${next}`, one] as const;
  });
  test.each(cases)('%s', (_, one) => exercise(one));

  test('is tested with every event of every state in the table', () => {
    const states = Object.keys(side === 'source' ? SOURCE_TABLE : DESTINATION_TABLE) as State[];
    const cells = states.flatMap((state) => cellsOf(rowOf(side, state)).map((cell) => `${state} ${cell}`));
    const given = new Set(CASES[side].map(({ state, cell }) => `${state} ${cell}`));
    expect(cells.filter((cell) => !given.has(cell))).toEqual([]);
  });
});
