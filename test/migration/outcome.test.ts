import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HtabSystemError } from '../../lib/base/errors.js';
import { receiveHpt } from '../../lib/migration/destination/receive.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes, askOutcome } from '../../lib/migration/outcome.js';
import { encodeFrame } from '../../lib/migration/wire/protocol.js';
import { sendHpt } from '../../lib/migration/source/send.js';
import { ORDER, reasonOf, settleInFakeTime, startGuest, useFakeTime } from './harness/test-guest.js';
import { linkStreams } from './harness/linked-streams.js';
import { Network } from './harness/network.js';
import { frameWire } from './harness/faulty-wire.js';
import { moveGuest, power8 } from './harness/move-guest.js';

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

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
