import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { SeededRandom } from '../../lib/base/random.js';
import type { Side } from '../../lib/migration/journal/journal.js';
import type { DestinationState, SourceState } from '../../lib/migration/states.js';
import type { CommandEnd } from './command.js';
import type { Vmm } from './vmm.js';
import { goOn, WholeMigration } from './whole-migration.js';

const SIDES = ['source', 'destination'] as const;
/** Longest time for the other agent to end by itself. */
const ALONE_MS = 5000;

/** When an agent is killed: at most so long after one of them has told this state. Most are near the end. */
const MOMENTS: readonly {
  readonly side: Side;
  readonly state: SourceState | DestinationState;
  readonly withinMs: number;
}[] = [
  { side: 'source', state: 'stopped', withinMs: 8000 },
  { side: 'destination', state: 'prepared', withinMs: 400 },
  { side: 'source', state: 'committing', withinMs: 200 },
  { side: 'destination', state: 'deciding', withinMs: 100 },
  { side: 'source', state: 'copying', withinMs: 8000 },
];

/**
 * Begins to move the guest, kills an agent, and does what an operator would: goes by the journals.
 *
 * @param turn which of the agents, and when
 */
export async function killAgent(
  [from, to]: readonly [Vmm, Vmm],
  folder: string,
  { random, turn }: { readonly random: SeededRandom; readonly turn: number },
  signal: AbortSignal,
): Promise<{ readonly hasMoved: boolean; readonly text: string }> {
  const [victim, other] = turn % 2 === 0 ? SIDES : SIDES.toReversed();
  const { side, state, withinMs } = MOMENTS[(turn >> 1) % MOMENTS.length]!;
  const afterMs = random.below(withinMs);
  await using migration = await WholeMigration.begin(from, to, folder, signal);
  // A source that meets its limits, as on a busy machine, ends by itself, and its destination goes on waiting.
  const { ended } = migration.source;
  await Promise.race([migration[side].told({ event: 'state', state }).catch(() => ended), ended]);
  await delay(afterMs);
  const killed = await migration[victim].kill();
  // A destination goes on waiting for its source: nothing is decided any more once it is gone too.
  const left = await Promise.race([migration[other].ended, delay(ALONE_MS, undefined)]);
  const end = left ?? (await migration[other].kill());

  const hasMoved = await migration.hasMoved();
  if (victim === 'destination') checkSource(end, hasMoved);
  await goOn([from, to], hasMoved);
  const moment = `${afterMs} ms after ${state}`;
  return {
    hasMoved,
    text: `${moment}: ${victim} (${killed}), ${other} (${end}): ${hasMoved ? 'moved' : 'stayed'}`,
  };
}

/** What the source's agent says of the guest when it ends by itself is true. */
function checkSource(end: CommandEnd, hasMoved: boolean): void {
  if (end === 0) assert.equal(hasMoved, true);
  if (end === 1) assert.equal(hasMoved, false);
}
