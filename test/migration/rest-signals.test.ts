import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { valueOf } from './harness/move-guest.js';
import { moveWhole } from './harness/move-whole.js';
import { reasonOf, useFakeTime } from './harness/test-guest.js';
import { type Manner, type RestCallName } from './harness/test-rest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

const REASON = new Error('Ctrl-C');

/** A journal that calls this before it does, or after it has done, one thing. */
function watched(name: 'begin' | 'decide', moment: 'before' | 'after', seen: () => void): MemoryJournal {
  const journal = new MemoryJournal();
  const act = journal[name].bind(journal) as (...args: never[]) => Promise<unknown>;
  return Object.assign(journal, {
    [name]: async (...args: never[]) => {
      if (moment === 'before') seen();
      const result = await act(...args);
      if (moment === 'after') seen();
      return result;
    },
  });
}

/** Interrupts a side within a call of its agent's, which then goes on in its manner. */
function during(side: 'send' | 'receive', victim: RestCallName, manner: Manner) {
  const interrupt = new AbortController();
  const options = {
    manner: (name: RestCallName): Manner => {
      if (name !== victim) return victim === 'discard' && name === 'accept' ? 'rejects' : 'well';
      // Once the call has been made.
      setTimeout(() => {
        interrupt.abort(REASON);
      }, 1);
      return manner;
    },
  };
  const { signal } = interrupt;
  const patience = { guestTimeoutMs: 90_000 };
  const sides = { send: patience, receive: patience };
  return moveWhole(options, { ...sides, [side]: { ...patience, signal } });
}

describe.each(['send', 'receive'] as const)('an interrupt of %s', (side) => {
  const ours = ({ sent, received }: Awaited<ReturnType<typeof during>>) =>
    side === 'send' ? sent : received;

  test.each<['finish' | 'accept', Manner]>([
    ['finish', 'obeys'],
    ['finish', 'hangs'],
    ['accept', 'obeys'],
    ['accept', 'hangs'],
    ['accept', 'late'],
  ])('in %s, which %s, leaves the guest at the source, and is discarded once', async (name, manner) => {
    const ended = await during(side, name, manner);
    expect(reasonOf(ours(ended))).toBe(REASON);
    expect([ended.sent.status, ended.received.status]).toEqual(['rejected', 'rejected']);
    expect(ended.rest.signals.at(-1)!.aborted).toBe(true);
    expect(ended.guest).toMatchObject({ state: 'running', resumes: 1 });
    expect(ended.rest.calls).toEqual(
      name === 'finish' ? ['finish', 'discard'] : ['finish', 'accept', 'discard'],
    );
  });

  test.each<Manner>(['well', 'late'])('in discard, which goes %s, waits for its end', async (manner) => {
    const ended = await during(side, 'discard', manner);
    expect(ended.rest.times('discard')).toBe(1);
    expect(ended.rest.times('run')).toBe(0);
    expect(ended.guest.state).toBe('running');
  });

  test.each<Manner>(['well', 'late'])('in run, which goes %s, comes too late', async (manner) => {
    const ended = await during(side, 'run', manner);
    expect(valueOf(ended.sent).acknowledged).toBe('directly');
    expect(valueOf(ended.received).digest()).toBe(valueOf(ended.sent).digest());
    expect(ended.rest.calls).toEqual(['finish', 'accept', 'run']);
    expect(ended.guest.state).toBe('paused');
  });

  test.each([
    ['begin', 'before', 'stays'],
    ['begin', 'after', 'stays'],
    ['decide', 'before', 'moves'],
    ['decide', 'after', 'moves'],
  ] as const)('at the %s of its journal, %s it is done: the guest %s', async (call, moment, end) => {
    const interrupt = new AbortController();
    const journal = watched(call, moment, () => {
      interrupt.abort(REASON);
    });
    const ended = await moveWhole({}, { [side]: { signal: interrupt.signal, journal } });
    const { rest, guest, sent, received } = ended;
    expect(rest.times('run') + rest.times('discard')).toBe(1);
    expect(rest.calls.at(-1)).toBe(end === 'moves' ? 'run' : 'discard');
    expect(guest.state).toBe(end === 'moves' ? 'paused' : 'running');
    if (end === 'stays') expect(reasonOf(ours(ended))).toBe(REASON);
    else expect([sent.status, received.status]).toEqual(['fulfilled', 'fulfilled']);
  });
});
