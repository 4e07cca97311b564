import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SeededRandom } from '../../lib/base/random.js';
import { CHECKER_ORDER, checkGoesOn, compareWithUnmoved, startChecker } from './checker.js';
import type { Side } from '../../lib/migration/journal/journal.js';
import type { DestinationState, SourceState } from '../../lib/migration/states.js';
import type { CommandEnd, CommandEvent } from './command.js';
import type { PowerOptions } from './main.js';
import type { Test } from './runner.js';
import { Vmm } from './vmm.js';
import { goOn, WholeMigration } from './whole-migration.js';

const SIDES = ['source', 'destination'] as const;
const MOVE_MS = 240_000;
const COMPARE_MS = 240_000;
/** Then all that the guest has done must be done once more by an unmoved one. */
const KILLS_PER_GUEST = 5;
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

/** Guests that move as a whole: memory, table and registers, from one VMM to another. */
export function wholeGuestSuite(test: Test, { seed, moves, kills }: PowerOptions): void {
  const folder = (): string => mkdtempSync(join(tmpdir(), 'whole-'));

  test(
    'a whole guest of two vcpus moves between VMMs, and computes what it computes unmoved',
    async (t) => {
      await using first = await startChecker(0, 2);
      await using second = await Vmm.start('live', ['incoming', CHECKER_ORDER]);
      const journals = folder();
      let [from, to] = [first, second];
      for (let move = 0; move < moves; move++) {
        await using migration = await WholeMigration.begin(from, to, journals, t.signal);
        t.note(`move ${move + 1} begins`);
        const sent = await migration.complete();
        assert.equal(await migration.hasMoved(), true);
        t.note(describeMove(sent, migration.source.events));
        [from, to] = [to, from];
        await checkGoesOn(from);
      }
      t.note(`compared at iteration ${await compareWithUnmoved(from)}`);
    },
    { timeoutMs: moves * MOVE_MS + COMPARE_MS },
  );

  test(
    'an agent is killed at any moment: the whole guest goes on where the journals say, and only there',
    async (t) => {
      const journals = folder();
      const random = new SeededRandom(seed);
      const counts: Record<string, number> = {};
      for (let trial = 0; trial < kills;) {
        await using first = await startChecker(0);
        await using second = await Vmm.start('live', ['incoming', CHECKER_ORDER]);
        let vmms: [Vmm, Vmm] = [first, second];
        for (const last = Math.min(trial + KILLS_PER_GUEST, kills); trial < last; trial++) {
          const { hasMoved, text } = await killAgent(
            vmms,
            journals,
            { random, turn: seed + trial },
            t.signal,
          );
          t.note(`kill ${trial + 1}: ${text}`);
          counts[text.replace(/^\d+ ms after /, '')] = (counts[text.replace(/^\d+ ms after /, '')] ?? 0) + 1;
          if (hasMoved) vmms = [vmms[1], vmms[0]];
        }
        t.note(`compared at iteration ${await compareWithUnmoved(vmms[0])}`);
      }
      t.note(`seed ${seed}, ${kills} kills: ${JSON.stringify(counts)}`);
    },
    { timeoutMs: kills * MOVE_MS + Math.ceil(kills / KILLS_PER_GUEST) * COMPARE_MS },
  );
}

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

/** What the source's agent has told of a move. */
function describeMove(done: CommandEvent, events: readonly CommandEvent[]): string {
  const text = (event: CommandEvent, ...names: string[]): string[] =>
    names.map((name) => `${name} ${Math.round(Number(event[name]))}`);
  const rounds = events.filter(({ event }) => event === 'round');
  const ofRounds = rounds.map((round) => text(round, 'pages', 'bytes', 'durationMs').join(', '));
  return `${text(done, 'stopMs', 'predictedStopMs', 'passes').join(', ')}; rounds: ${ofRounds.join('; ')}`;
}

/** What the source's agent says of the guest when it ends by itself is true. */
function checkSource(end: CommandEnd, hasMoved: boolean): void {
  if (end === 0) assert.equal(hasMoved, true);
  if (end === 1) assert.equal(hasMoved, false);
}
