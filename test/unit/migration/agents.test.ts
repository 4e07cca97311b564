import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../../lib/errors.js';
import { receiveHpt } from '../../../lib/migration/destination.js';
import type { OutcomeEvent, PassEvent, StateEvent } from '../../../lib/migration/events.js';
import { MemoryJournal } from '../../../lib/migration/journal.js';
import { answerOutcomes, askOutcome } from '../../../lib/migration/outcome.js';
import { sendHpt } from '../../../lib/migration/source.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './machines.js';
import { Network, type Wires } from './network.js';
import { frameWire } from './wires.js';
import { move, power8, valueOf } from './move.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a guest that changes its table too fast', () => {
  const busy = { maxPasses: 2, maxChangedEntries: 0 } as const;

  test('is left alone, if that was asked', async () => {
    const guest = await startGuest();
    const { sent } = await move(guest, { send: { ...busy, whenNotConverging: 'give-up' } });
    expect((reasonOf(sent) as Error).message).toMatch(
      /^the table changes too fast: after 2 passes \d+ entries/,
    );
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test('is slowed down step by step, and moves when that has helped', async () => {
    const guest = await startGuest();
    const steps: number[] = [];
    const options = guest.options();
    const { sent } = await move(guest, {
      send: {
        ...busy,
        maxChangedEntries: 8,
        whenNotConverging: 'throttle',
        throttle: (step) => {
          steps.push(step);
          return Promise.resolve();
        },
        onProgress: (progress) => {
          if (steps.length < 3) options.onProgress!(progress);
        },
      },
    });
    expect(valueOf(sent).predictedStopMs).toBeGreaterThanOrEqual(0);
    expect(steps.slice(0, 3)).toEqual([1, 2, 3]);
    expect(steps).not.toContain(0);
  });

  test('gets its full speed back when slowing it down has not helped', async () => {
    const guest = await startGuest();
    const steps: number[] = [];
    const throttle = (step: number): Promise<void> => {
      steps.push(step);
      return Promise.resolve();
    };
    const send = { ...busy, whenNotConverging: 'throttle', throttle, maxThrottleSteps: 2 } as const;
    const { sent } = await move(guest, { send });
    expect((reasonOf(sent) as Error).message).toContain('the table changes too fast');
    expect(steps).toEqual([1, 2, 0]);
  });

  test('does not stand still for longer than the limit before the commit', async () => {
    const guest = await startGuest();
    const wires = (): Wires => ({ fromSource: frameWire((type) => type === 'prepare', 'stall') });
    const { sent } = await move(guest, { wires, send: { stopLimitMs: 5000 } });
    expect((reasonOf(sent) as Error).message).toContain('the guest has been stopped for 5000 ms');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });

  test('does not stand still for longer than the limit for the journal either', async () => {
    const guest = await startGuest();
    const journal = new MemoryJournal();
    vi.spyOn(journal, 'begin').mockReturnValue(new Promise(() => undefined));
    const { sent } = await move(guest, { send: { stopLimitMs: 5000, journal } });
    const { cause } = reasonOf(sent) as Error;
    expect((cause as Error).message).toContain('the guest has been stopped for 5000 ms');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });
});

test('a journal that throws once the guest has moved changes nothing about it', async () => {
  const guest = await startGuest();
  const journal = new MemoryJournal();
  vi.spyOn(journal, 'decide').mockImplementation(() => {
    throw new Error('no disk');
  });
  const { sent, received } = await move(guest, { send: { journal } });
  expect([sent.status, received.status]).toEqual(['fulfilled', 'fulfilled']);
  expect(guest).toMatchObject({ state: 'paused', pauses: 1, resumes: 0 });
});

describe('the outcome', () => {
  const record = { side: 'destination', order: ORDER, digest: 'ab'.repeat(32) } as const;

  async function answersOf(journal: MemoryJournal, ids: readonly string[]): Promise<unknown[]> {
    const network = new Network();
    const answering = answerOutcomes(journal, network);
    const answers: unknown[] = [];
    for (const id of ids) {
      answers.push(
        await settleInFakeTime(askOutcome(await network.connect(), id).catch((error: unknown) => error)),
      );
    }
    network.close();
    await answering;
    return answers;
  }

  test('is what the journal says; asking decides what was pending', async () => {
    const journal = new MemoryJournal();
    for (const migrationId of ['a', 'b', 'c']) await journal.begin({ ...record, migrationId });
    await journal.decide('destination', 'a', 'committed');
    await journal.decide('destination', 'b', 'aborted');
    expect(await answersOf(journal, ['a', 'b', 'c', 'd'])).toEqual([
      'committed',
      'aborted',
      'aborted',
      'unknown',
    ]);
    expect(await journal.decide('destination', 'c', 'committed')).toBe('aborted');
  });

  test('is not given by a journal that cannot be written', async () => {
    const journal = new MemoryJournal();
    await journal.begin({ ...record, migrationId: 'a' });
    journal.decide = () => Promise.reject(new HtabSystemError('write', 'ENOSPC', { operation: 'write' }));
    const [answer] = await answersOf(journal, ['a']);
    expect((answer as Error).message).toContain('ENOSPC');
  });

  test('of a migration that was decided keeps the same one from beginning again', async () => {
    const journal = new MemoryJournal();
    await journal.begin({ ...record, migrationId: 'again' });
    await journal.decide('destination', 'again', 'committed');
    const guest = await startGuest(100);
    const { sent, target } = await move(guest, { send: { migrationId: 'again' }, receive: { journal } });
    expect((reasonOf(sent) as Error).message).toContain(
      'migration again has been decided here: it is committed',
    );
    expect(target.table).toBeUndefined();
  });

  test('is all that is answered where no table is waited for', async () => {
    const guest = await startGuest(100);
    const network = new Network();
    const answering = answerOutcomes(new MemoryJournal(), network);
    const [sent] = await settleInFakeTime(
      Promise.allSettled([sendHpt(guest.vm, network.connect, guest.options())]),
    );
    expect((reasonOf(sent) as Error).message).toContain('nobody waits for a table here');
    network.close();
    await answering;
  });
});

describe('a target that is to be opened', () => {
  test('is not before a source comes with a table: until then outcomes are answered whatever has become of it', async () => {
    const journal = new MemoryJournal();
    await journal.begin({
      side: 'destination',
      migrationId: 'before',
      order: ORDER,
      digest: 'ab'.repeat(32),
    });
    await journal.decide('destination', 'before', 'committed');
    const target = power8();
    const open = vi.fn(() => Promise.resolve(target));
    const network = new Network();
    const receiving = receiveHpt(open, network, { journal });
    expect(await settleInFakeTime(askOutcome(await network.connect(), 'before'))).toBe('committed');
    expect(open).not.toHaveBeenCalled();
    const guest = await startGuest(500);
    const sending = sendHpt(guest.vm, network.connect, guest.options());
    const [sent, received] = await settleInFakeTime(Promise.all([sending, receiving]));
    expect(received.digest()).toBe(sent.digest());
    expect(open).toHaveBeenCalledOnce();
    network.close();
  });

  test('is opened once, however often the source comes back', async () => {
    const target = power8();
    const open = vi.fn(() => Promise.resolve(target));
    const guest = await startGuest(500);
    const network = new Network((number) =>
      number === 1 ? { fromSource: frameWire((type) => type === 'prepare', 'reset-before') } : {},
    );
    const sending = sendHpt(guest.vm, network.connect, guest.options());
    const [sent] = await settleInFakeTime(Promise.all([sending, receiveHpt(open, network)]));
    expect([sent.attempts, open.mock.calls.length]).toEqual([2, 1]);
    network.close();
  });

  test('and cannot be leaves the guest running at the source, which is told why', async () => {
    const guest = await startGuest(500);
    const network = new Network();
    const refusal = new HtabSystemError('connect', 'ENOENT', { operation: 'ask the VMM' });
    const receiving = receiveHpt(() => Promise.reject(refusal), network);
    const sending = sendHpt(guest.vm, network.connect, guest.options());
    const [sent, received] = await settleInFakeTime(Promise.allSettled([sending, receiving]));
    expect(reasonOf(received)).toBe(refusal);
    expect((reasonOf(sent) as Error).message).toContain(
      'the peer gave up: ask the VMM: connect failed with ENOENT',
    );
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
    network.close();
  });
});

describe('a destination that listens', () => {
  test('is not disturbed by connections that say nothing proper', async () => {
    const guest = await startGuest(500);
    const network = new Network();
    const strangers = await Promise.all(Array.from({ length: 20 }, () => network.connect()));
    for (const stranger of strangers) stranger.on('error', () => undefined).write('GET / HTTP/1.1\r\n\r\n');
    const receiving = receiveHpt(power8(), network);
    await settleInFakeTime(new Promise((resolve) => setTimeout(resolve, 3000)));
    const sending = sendHpt(guest.vm, network.connect, guest.options());
    const [sent, received] = await settleInFakeTime(Promise.all([sending, receiving]));
    expect(received.digest()).toBe(sent.digest());
    network.close();
  });

  test('takes no other source under the name of one that it knows, now or after a restart', async () => {
    const journal = new MemoryJournal();
    const guest = await startGuest();
    const other = await startGuest(100, 2);
    const name = { migrationId: 'twice' };
    const network = new Network();
    const receiving = receiveHpt(power8(), network, { journal });
    const options = guest.options(name);
    let second: Promise<unknown> | undefined;
    const sending = sendHpt(guest.vm, network.connect, {
      ...options,
      onProgress: (progress) => {
        options.onProgress!(progress);
        second ??= sendHpt(other.vm, network.connect, other.options(name)).catch((error: unknown) => error);
      },
    });
    const [sent] = await settleInFakeTime(Promise.all([sending, receiving]));
    expect(sent.attempts).toBe(1);
    const refusal = 'another source has used the name twice';
    expect(((await settleInFakeTime(second!)) as Error).message).toContain(refusal);

    // Prepared, and ended before it was told to commit: the source that was to commit will ask.
    await journal.begin({ side: 'destination', migrationId: 'late', order: ORDER, digest: 'ab'.repeat(32) });
    const again = await move(other, { send: { migrationId: 'late' }, receive: { journal } });
    expect((reasonOf(again.sent) as Error).message).toContain('another source has used the name late');
    expect(other).toMatchObject({ state: 'running', pauses: 0 });
    network.close();
  });

  test('takes one migration at a time', async () => {
    const guest = await startGuest();
    const other = await startGuest(100, 2);
    const network = new Network();
    const receiving = receiveHpt(power8(), network);
    let second: Promise<unknown> | undefined;
    const options = guest.options();
    const sending = sendHpt(guest.vm, network.connect, {
      ...options,
      onProgress: (progress) => {
        options.onProgress!(progress);
        second ??= sendHpt(other.vm, network.connect, other.options()).catch((error: unknown) => error);
      },
    });
    await settleInFakeTime(Promise.all([sending, receiving]));
    expect(((await settleInFakeTime(second!)) as Error).message).toContain(
      'another migration is under way here',
    );
    network.close();
  });
});

test('the diagnostics channels tell states, passes and the outcome', async () => {
  const seen: unknown[] = [];
  const names = ['kvm-htab:state', 'kvm-htab:pass', 'kvm-htab:outcome'];
  const listener = (event: unknown): void => void seen.push(event);
  for (const name of names) subscribe(name, listener);
  const guest = await startGuest();
  const { sent } = await move(guest, { send: { migrationId: 'told', maxPasses: 2 } });
  for (const name of names) unsubscribe(name, listener);
  const events = seen as (Partial<StateEvent & PassEvent & OutcomeEvent> & { side: string })[];
  const of = (side: string, key: 'state' | 'pass' | 'outcome'): unknown[] =>
    events.filter((event) => event.side === side && key in event).map((event) => event[key]);
  expect(of('source', 'state')).toEqual(['connecting', 'copying', 'stopped', 'committing', 'moved']);
  expect(of('destination', 'state')).toEqual(['copying', 'prepared', 'deciding', 'committed']);
  expect(of('source', 'pass')).toEqual(valueOf(sent).passes.map(({ pass }) => pass));
  const counts = valueOf(sent).passes.map(({ pass, validEntries, invalidEntries, bytes }) => ({
    ...{ side: 'destination', pass, validEntries, invalidEntries, bytes },
  }));
  expect(events.filter((event) => event.side === 'destination' && 'pass' in event)).toMatchObject(counts);
  expect([of('source', 'outcome'), of('destination', 'outcome')]).toEqual([['moved'], ['moved']]);
  expect(events.every(({ migrationId }) => migrationId === 'told')).toBe(true);
});
