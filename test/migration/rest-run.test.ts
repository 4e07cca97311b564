import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { channels, type OutcomeEvent } from '../../lib/migration/events.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { reasonOf, useFakeTime } from './harness/test-guest.js';
import { only, TestRest, type Manner } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

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
});
