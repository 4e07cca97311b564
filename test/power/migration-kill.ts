import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { EXIT_CODES } from '../../lib/cli/errors/exit-codes.js';
import type { SeededRandom } from '../../lib/base/random.js';
import { checkedStats, checkGoesOn } from './checker.js';
import { Migration } from './migration-commands.js';
import type { Vmm } from './vmm.js';

/** What the receiver tells, and the longest time from then on until it is killed. */
const MOMENTS = [
  { told: { event: 'state', state: 'copying' }, withinMs: 3000 },
  { told: { event: 'state', state: 'prepared' }, withinMs: 400 },
  { told: { event: 'listening' }, withinMs: 1500 },
] as const;

/** Where the guest was after a kill, as the sender said; in doubt: until it was resolved. */
export type KillOutcome = 'stayed' | 'moved' | 'in doubt';

/**
 * Begins to move the guest, and kills the receiver at a random moment. The guest goes on afterwards, at one place only.
 *
 * @param trial its number, from 0; the kinds of moments take turns
 */
export async function killReceiver(
  guest: Vmm,
  folder: string,
  random: SeededRandom,
  trial: number,
  signal: AbortSignal,
): Promise<{ readonly outcome: KillOutcome; readonly text: string }> {
  const { told, withinMs } = MOMENTS[trial % MOMENTS.length]!;
  const afterMs = random.below(withinMs);
  const { commits } = await checkedStats(guest);
  await using migration = new Migration(guest, folder, signal);
  const { receiver, sender } = migration;
  await migration.begin();
  // A sender that failed would leave the receiver waiting.
  await Promise.race([receiver.told(told), sender.mustEnd(0)]);
  await delay(afterMs);
  const end = await receiver.kill();
  const outcome = outcomeOf(await sender.ended);

  // The destination's journal alone says whether the guest may run there.
  const decision = await migration.recorded('destination');
  if (outcome === 'in doubt') {
    assert.equal((await checkedStats(guest)).state, 'paused');
    assert.equal(await migration.recorded('source'), 'pending');
    assert.equal(await migration.resolve(), decision === 'committed' ? 'committed' : 'aborted');
  } else {
    assert.equal(decision === 'committed', outcome === 'moved');
  }
  const isThere = decision === 'committed';
  // The receiver may have died before it could let the guest run.
  const { commits: now } = await checkedStats(guest);
  if (isThere && now === commits) assert.equal(await guest.ask('run'), 'ok');
  else if (!isThere && outcome === 'in doubt') assert.equal(await guest.ask('resume'), 'ok');
  assert.equal((await checkGoesOn(guest)).commits, commits + (isThere ? 1 : 0));

  const name = 'state' in told ? told.state : told.event;
  const last = receiver.events.findLast(({ event }) => event === 'state')?.['state'];
  const resolved = outcome === 'in doubt' ? `, resolved: ${isThere ? 'moved' : 'stayed'}` : '';
  return {
    outcome,
    text: `${afterMs} ms after ${name}, ${typeof last === 'string' ? last : 'listening'} (${end}): ${outcome}${resolved}`,
  };
}

function outcomeOf(end: unknown): KillOutcome {
  switch (end) {
    case EXIT_CODES.failed:
      return 'stayed';
    case EXIT_CODES.ok:
      return 'moved';
    case EXIT_CODES.inDoubt:
      return 'in doubt';
    default:
      throw new Error(`the sender ended with ${String(end)}`);
  }
}
