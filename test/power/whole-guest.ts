import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SeededRandom } from '../../lib/base/random.js';
import { CHECKER_ORDER, checkGoesOn, compareWithUnmoved, startChecker } from './checker.js';
import type { CommandEvent } from './command.js';
import type { PowerOptions } from './main.js';
import type { Test } from './runner.js';
import { Vmm } from './vmm.js';
import { killAgent } from './whole-migration-kill.js';
import { WholeMigration } from './whole-migration.js';

const MOVE_MS = 240_000;
const COMPARE_MS = 240_000;
/** Then all that the guest has done must be done once more by an unmoved one. */
const KILLS_PER_GUEST = 5;

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

/** What the source's agent has told of a move. */
function describeMove(done: CommandEvent, events: readonly CommandEvent[]): string {
  const text = (event: CommandEvent, ...names: string[]): string[] =>
    names.map((name) => `${name} ${Math.round(Number(event[name]))}`);
  const rounds = events.filter(({ event }) => event === 'round');
  const ofRounds = rounds.map((round) => text(round, 'pages', 'bytes', 'durationMs').join(', '));
  return `${text(done, 'stopMs', 'predictedStopMs', 'passes').join(', ')}; rounds: ${ofRounds.join('; ')}`;
}
