import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { digestTable } from '../../../lib/hpt/digest.js';
import type { Side } from '../../../lib/migration/journal.js';
import {
  DESTINATION_STATES,
  SOURCE_STATES,
  type DestinationState,
  type SourceState,
} from '../../../lib/migration/two-phase.js';
import { cellsOf, checks, destinationCases, rowOf, sourceCases, type Case } from './cells.js';
import { startGuest, useFakeTime } from './machines.js';
import { Stage, type State } from './stage.js';
import { World } from './world.js';

// Every cell of the tables in lib/migration/two-phase.ts.

/** Where a migration may go from a state by itself. */
const GOES_ON: Partial<Record<State, readonly State[]>> = {
  connecting: ['connecting', 'copying'],
  copying: ['stopped', 'prepared'],
  stopped: ['committing'],
  committing: ['moved'],
  asking: ['moved'],
  // Nobody has to come back.
  waiting: ['copying', 'aborted'],
  prepared: ['deciding'],
  deciding: ['committed'],
};

/** What the row says must be true whenever a side comes to its state. */
function checkRow(side: Side, state: State, { guest, target, runsAtTarget }: World): void {
  if (side === 'source') {
    const { guestRuns } = SOURCE_STATES[state as SourceState];
    expect(guest.state, `the guest of a source that is ${state}`).toBe(guestRuns ? 'running' : 'paused');
    return;
  }
  const { table } = DESTINATION_STATES[state as DestinationState];
  expect(runsAtTarget, `a guest runs at a destination that is ${state}`).toBe(false);
  if (table === 'nothing') expect(target.table?.validCount ?? 0, `entries when ${state}`).toBe(0);
  if (table === 'all') expect(digestTable(target.table!), state).toBe(digestTable(guest.vm.table!));
}

async function exercise({ side, state, event, then, set }: Case): Promise<void> {
  const stage = new Stage(side, state);
  const world = new World({ guest: await startGuest(60), ...set(stage) });
  // It throws unless the guest ends at one side, and nothing is left open.
  const check = (now: State): void => {
    checkRow(side, now, world);
  };
  await stage.watch(world, check, () => world.run());
  await Promise.all(checks);

  expect(stage.struck, 'it happened').toBe(true);
  const expected = then.filter((next, k) => next !== (then[k - 1] ?? state));
  const seen = stage.after.slice(0, Math.max(1, expected.length));
  if (expected.length > 0) expect(seen).toEqual(expected);
  else if (seen.length > 0 && event !== 'it is killed') expect(GOES_ON[state]).toContain(seen[0]);
}

const CASES = { source: [...sourceCases()], destination: [...destinationCases()] };

beforeEach(useFakeTime);
afterEach(() => {
  vi.useRealTimers();
  checks.length = 0;
});

describe.each(['source', 'destination'] as const)('a %s that is', (side) => {
  const cases = CASES[side].map((one) => {
    const next = one.then.length === 0 ? '' : `, is ${one.then.join(', then ')}`;
    return [`${one.state} when ${one.event}${next}`, one] as const;
  });
  test.each(cases)('%s', (_, one) => exercise(one));

  test('in any state of the table has been given everything that the table knows of', () => {
    const states = Object.keys(side === 'source' ? SOURCE_STATES : DESTINATION_STATES) as State[];
    const cells = states.flatMap((state) => cellsOf(rowOf(side, state)).map((cell) => `${state} ${cell}`));
    const given = new Set(CASES[side].map(({ state, cell }) => `${state} ${cell}`));
    expect(cells.filter((cell) => !given.has(cell))).toEqual([]);
  });
});
