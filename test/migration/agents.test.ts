import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError, type HtabError } from '../../lib/base/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { OutcomeEvent, PassEvent, StateEvent } from '../../lib/migration/events.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../lib/migration/outcome.js';
import { encodeFrame } from '../../lib/migration/wire/protocol.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { linkStreams } from './harness/linked-streams.js';
import { Network, type Wires } from './harness/network.js';
import { frameWire } from './harness/faulty-wire.js';
import { moveGuest, power8, valueOf } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('a guest that changes its table too fast', () => {
  const busy = { maxPasses: 2, maxChangedEntries: 0 } as const;

  test.each([
    ['maxPasses', { maxPasses: 1 }, /^too few passes to predict the stop: 1;/],
    [
      'maxChangedEntries',
      { maxChangedEntries: 0, downtimeMs: 10_000 },
      /^the table changes too fast: after 2 passes \d+ entries .* \(at most 0 may\)/,
    ],
    ['downtimeMs', { maxChangedEntries: 2 ** 32, downtimeMs: 50 }, /\(at most 50 ms are allowed\)/],
  ])('is left alone, if that was asked, and the error names %s', async (option, limits, text) => {
    const guest = await startGuest();
    const send = { maxPasses: 2, ...limits, whenNotConverging: 'give-up' } as const;
    const slow = (): void => void vi.advanceTimersByTime(80);
    const script = new FaultScript([{ kind: 'run', call: 'read', times: 100, action: slow }]);
    const source = script.wrapVm(guest.vm);
    const { sent } = await moveGuest(guest, { send, source });
    const error = reasonOf(sent) as HtabError;
    expect(error.message).toMatch(text);
    expect(error).toMatchObject({ code: 'ERR_HTAB_MIGRATION', option });
    expect(guest).toMatchObject({ state: 'running', pauses: 0 });
  });

  test('is slowed down step by step, and moves when that has helped', async () => {
    const guest = await startGuest();
    const steps: number[] = [];
    const options = guest.options();
    const { sent } = await moveGuest(guest, {
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
    const { sent } = await moveGuest(guest, { send });
    expect((reasonOf(sent) as Error).message).toContain('the table changes too fast');
    expect(steps).toEqual([1, 2, 0]);
  });

  test('does not stand still for longer than the limit before the commit', async () => {
    const guest = await startGuest();
    const wires = (): Wires => ({ fromSource: frameWire((type) => type === 'prepare', 'stall') });
    const { sent } = await moveGuest(guest, { wires, send: { stopLimitMs: 5000 } });
    expect((reasonOf(sent) as Error).message).toContain('the guest reached its stop limit of 5000 ms');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });

  test('does not stand still for longer than the limit for the journal either', async () => {
    const guest = await startGuest();
    const journal = new MemoryJournal();
    vi.spyOn(journal, 'begin').mockReturnValue(new Promise(() => undefined));
    const { sent } = await moveGuest(guest, { send: { stopLimitMs: 5000, journal } });
    const { cause } = reasonOf(sent) as Error;
    expect((cause as Error).message).toContain('the guest reached its stop limit of 5000 ms');
    expect(guest).toMatchObject({ state: 'running', pauses: 1, resumes: 1 });
  });
});

test('a journal that throws once the guest has moved changes nothing about it', async () => {
  const guest = await startGuest();
  const journal = new MemoryJournal();
  vi.spyOn(journal, 'decide').mockImplementation(() => {
    throw new Error('no disk');
  });
  const { sent, received } = await moveGuest(guest, { send: { journal } });
  expect([sent.status, received.status]).toEqual(['fulfilled', 'fulfilled']);
  expect(guest).toMatchObject({ state: 'paused', pauses: 1, resumes: 0 });
});

describe('the outcome', () => {
  const record = { side: 'destination', order: ORDER, digest: 'ab'.repeat(32) } as const;

  async function answersOf(
    journal: MemoryJournal,
    ids: readonly string[],
    digest?: string,
  ): Promise<unknown[]> {
    const network = new Network();
    const answering = answerOutcomes(journal, network);
    const answers: unknown[] = [];
    for (const id of ids) {
      answers.push(
        await settleInFakeTime(
          askOutcome(await network.connect(), id, { digest }).catch((error: unknown) => error),
        ),
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

  test('is that of the table that is asked about: another source under the same id learns and decides nothing', async () => {
    const journal = new MemoryJournal();
    const [ours, theirs] = [record.digest, 'cd'.repeat(32)];
    for (const migrationId of ['moved', 'open']) await journal.begin({ ...record, migrationId });
    await journal.decide('destination', 'moved', 'committed');
    expect(await answersOf(journal, ['moved', 'open'], theirs)).toEqual(['unknown', 'unknown']);
    expect(await journal.find('destination', 'open')).toMatchObject({ state: 'pending' });
    expect(await answersOf(journal, ['moved', 'open'], ours)).toEqual(['committed', 'aborted']);
  });

  test('of another table than was asked about is not believed', async () => {
    const [ours, theirs] = linkStreams();
    const frame = encodeFrame({ type: 'outcome', outcome: 'committed', digest: 'cd'.repeat(32) }, 0);
    theirs
      .on('error', () => undefined)
      .resume()
      .write(Buffer.concat(Object.values(frame)));
    const asked = askOutcome(ours, 'twice', { digest: record.digest }).catch((error: unknown) => error);
    const error = (await settleInFakeTime(asked)) as Error;
    expect(error.message).toContain('migration id twice has been used twice');
  });

  test('that belongs to another source under the same id leaves a source in doubt', async () => {
    const guest = await startGuest(100);
    const journal = new MemoryJournal();
    const sourceJournal = new MemoryJournal();
    const network = new Network((number) =>
      number === 1 ? { fromSource: frameWire((type) => type === 'commit', 'cut') } : {},
    );
    const receiving = receiveHpt(power8(), network, { journal, reconnectMs: 60_000 }).catch(() => undefined);
    const sending = sendHpt(
      guest.vm,
      network.connect,
      guest.options({ migrationId: 'twice', journal: sourceJournal, reconnectMs: 5000 }),
    );
    // The other source's table comes, and is committed, before this one asks.
    const find = journal.find.bind(journal);
    vi.spyOn(journal, 'find').mockImplementation(async (side, id) => {
      const entry = await find(side, id);
      return entry && { ...entry, state: 'committed', digest: 'cd'.repeat(32) };
    });
    const [sent] = await settleInFakeTime(Promise.allSettled([sending]));
    expect(reasonOf(sent)).toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
    expect(guest).toMatchObject({ state: 'paused', resumes: 0 });
    expect(await sourceJournal.find('source', 'twice')).toMatchObject({ state: 'pending' });
    network.close();
    await settleInFakeTime(receiving);
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
    const { sent, target } = await moveGuest(guest, { send: { migrationId: 'again' }, receive: { journal } });
    expect((reasonOf(sent) as Error).message).toContain(
      'migration again is already committed at the destination',
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
    expect((reasonOf(sent) as Error).message).toContain('only answers outcome queries');
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
      'the destination reports: ask the VMM: connect failed with ENOENT',
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
    const refusal = 'migration id twice is already in use';
    expect(((await settleInFakeTime(second!)) as Error).message).toContain(refusal);

    // Prepared, and ended before it was told to commit: the source that was to commit will ask.
    await journal.begin({ side: 'destination', migrationId: 'late', order: ORDER, digest: 'ab'.repeat(32) });
    const again = await moveGuest(other, { send: { migrationId: 'late' }, receive: { journal } });
    expect((reasonOf(again.sent) as Error).message).toContain('migration id late is already in use');
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
      'this destination is busy with another migration',
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
  const { sent } = await moveGuest(guest, { send: { migrationId: 'told', maxPasses: 2 } });
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
