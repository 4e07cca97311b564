import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import type { OutcomeEvent, PassEvent, StateEvent } from '../../lib/migration/events.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { askOutcome } from '../../lib/migration/outcome.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { Network } from './harness/network.js';
import { frameWire } from './harness/faulty-wire.js';
import { moveGuest, power8, valueOf } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

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
