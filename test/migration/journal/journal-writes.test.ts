import { appendFileSync, statSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { scratchFiles } from '../../scratch.js';
import { record } from './journal-record.js';

/** What a journal gets at most. */
const MAX_BYTES = 64 << 20;

const scratch = scratchFiles();
let file: string;
beforeEach(() => {
  file = scratch('journal');
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** What every open file calls, to be made to fail. */
async function failingCalls() {
  const handle = await open(file, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  return {
    write: vi.spyOn(prototype, 'write'),
    datasync: vi.spyOn(prototype, 'datasync'),
    read: vi.spyOn(prototype, 'read'),
  };
}

/** Makes a journal of so many bytes in which nothing stands. */
function fill(bytes: number): void {
  const line = `${'#'.repeat(9999)}\n`;
  writeFileSync(file, '#\n' + line.repeat(Math.floor((bytes - 4) / line.length)));
  const rest = bytes - statSync(file).size;
  appendFileSync(file, `${'#'.repeat(rest - 1)}\n`);
}

describe('a journal file', () => {
  test('on a full disk decides nothing, and can decide once there is room', async () => {
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    const { write } = await failingCalls();
    write.mockRejectedValueOnce(Object.assign(new Error('no space'), { code: 'ENOSPC', syscall: 'write' }));
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toMatchObject({
      errnoName: 'ENOSPC',
      hint: 'the disk is full; free some space, or use another disk',
    });
    write.mockResolvedValueOnce({ bytesWritten: 20, buffer: '' });
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toThrow('only 20 of');
    expect(await journal.decide('destination', 'a', 'aborted')).toBe('aborted');
  });

  test('does not make a decision whole by what comes after it', async () => {
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    const { write } = await failingCalls();
    // All but its newline is on the disk when the disk is full.
    write.mockImplementationOnce(function (this: FileHandle, bytes: unknown) {
      write.mockRestore();
      return this.write((bytes as Buffer).subarray(0, -1)) as never;
    });
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toThrow(
      'check that the disk is not full',
    );
    expect(await journal.decide('destination', 'a', 'aborted')).toBe('aborted');
    await using again = await openJournal(file);
    expect(await again.find('destination', 'a')).toMatchObject({ state: 'aborted' });
  });

  test('whose write fails though the file has the bytes is in doubt', async () => {
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    const handle = await open(file);
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    const failing = vi.spyOn(prototype, 'write').mockImplementationOnce((bytes) => {
      appendFileSync(file, bytes);
      return Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'write' }));
    });
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toMatchObject({
      code: 'ERR_HTAB_IN_DOUBT',
    });
    failing.mockRestore();
    await using again = await openJournal(file);
    expect(await again.find('destination', 'a')).toMatchObject({ state: 'committed' });
  });

  test('that the disk may or may not have is in doubt, and says nothing any more', async () => {
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    const { datasync } = await failingCalls();
    datasync.mockRejectedValueOnce(Object.assign(new Error('i/o'), { code: 'EIO', syscall: 'fdatasync' }));
    const doubt = { code: 'ERR_HTAB_IN_DOUBT' };
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toMatchObject(doubt);
    await expect(journal.find('destination', 'a')).rejects.toMatchObject(doubt);
    await expect(journal.decide('destination', 'a', 'aborted')).rejects.toMatchObject(doubt);
  });

  test('that has no room for a decision does not take it: nothing is decided, and nothing stands in it', async () => {
    const sizes = { pending: 0, committed: 0 };
    {
      await using journal = await openJournal(file);
      await journal.begin(record('a'));
      sizes.pending = statSync(file).size;
      await journal.decide('destination', 'a', 'committed');
      sizes.committed = statSync(file).size - sizes.pending;
    }
    fill(MAX_BYTES - sizes.pending - sizes.committed + 1);
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    const size = statSync(file).size;
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
    });
    expect(statSync(file).size).toBe(size);
    // Shorter by two bytes.
    expect(await journal.decide('destination', 'a', 'aborted')).toBe('aborted');
  });

  test('that several fill up at the same moment loses nothing: each line stands, and the first decision', async () => {
    let size: number;
    {
      await using journal = await openJournal(file);
      await journal.begin(record('a'));
      size = statSync(file).size;
    }
    fill(MAX_BYTES - 2 * size - 2);
    await using ours = await openJournal(file);
    await using theirs = await openJournal(file);
    // Leaves room for one decision.
    await ours.begin(record('a'));
    const handle = await open(file);
    const { write: original } = Object.getPrototypeOf(handle) as {
      readonly write: (this: FileHandle, ...args: unknown[]) => never;
    };
    await handle.close();
    const { write } = await failingCalls();
    // Each has seen that there is room before any of them takes it.
    const writes: (() => void)[] = [];
    write.mockImplementation(async function (this: FileHandle, ...args) {
      await new Promise<void>((resolve) => {
        if (writes.push(resolve) >= 2) for (const goOn of writes) goOn();
      });
      return original.apply(this, args);
    });
    const decisions = await Promise.all([
      ours.decide('destination', 'a', 'committed'),
      theirs.decide('destination', 'a', 'aborted'),
    ]);
    expect(new Set(decisions).size).toBe(1);
    expect(writes.length).toBeGreaterThanOrEqual(2);
    await using again = await openJournal(file);
    expect(await again.find('destination', 'a')).toMatchObject({ state: decisions[0] });
  });

  test('that cannot be read once a decision is written is in doubt about it', async () => {
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    const { read } = await failingCalls();
    const failure = Object.assign(new Error('i/o'), { code: 'EIO', syscall: 'read' });
    read.mockRejectedValueOnce(failure);
    const doubt = { code: 'ERR_HTAB_IN_DOUBT' };
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toMatchObject(doubt);
    await expect(journal.decide('destination', 'a', 'aborted')).rejects.toMatchObject(doubt);
  });
});
