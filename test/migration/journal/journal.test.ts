import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { HtabJournalError } from '../../../lib/migration/journal/journal-damage.js';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { scratchFiles } from '../../scratch.js';
import { type Journal, type JournalRecord } from '../../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';

const record = (migrationId: string, side: JournalRecord['side'] = 'destination'): JournalRecord => ({
  migrationId,
  side,
  order: 18,
  digest: 'ab'.repeat(32),
});

/** What a journal gets at most. */
const MAX_BYTES = 64 << 20;

const scratch = scratchFiles();
let folder: string;
let file: string;
beforeEach(() => {
  file = scratch('journal');
  folder = path.dirname(file);
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

describe.each<[string, () => Promise<Journal>]>([
  ['file', () => openJournal(file)],
  ['process', () => Promise.resolve(new MemoryJournal())],
])('a journal that ends with its %s', (_, begin) => {
  test('lets the first decision about a migration stand, for each side', async () => {
    await using journal = await begin();
    await journal.begin(record('a'));
    await journal.begin(record('a', 'source'));
    expect(await journal.decide('destination', 'a', 'aborted')).toBe('aborted');
    expect(await journal.decide('destination', 'a', 'committed')).toBe('aborted');
    expect(await journal.find('destination', 'a')).toEqual({ ...record('a'), state: 'aborted' });
    expect(await journal.decide('source', 'a', 'committed')).toBe('committed');
  });

  test('decides nothing that was never begun', async () => {
    await using journal = await begin();
    await expect(journal.decide('destination', 'a', 'committed')).rejects.toThrow(
      'the journal has no migration a at the destination',
    );
    expect(await journal.find('destination', 'a')).toBeUndefined();
  });

  test('gives what it knows of a side, newest last; one that begins again is the same one', async () => {
    await using journal = await begin();
    for (const id of ['a', 'b', 'c', 'a']) await journal.begin(record(id));
    await journal.begin(record('d', 'source'));
    await journal.decide('destination', 'b', 'committed');
    expect(await journal.entries('destination')).toEqual([
      { ...record('a'), state: 'pending' },
      { ...record('c'), state: 'pending' },
      { ...record('b'), state: 'committed' },
    ]);
    expect(await journal.entries('source')).toEqual([{ ...record('d', 'source'), state: 'pending' }]);
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['name', { migrationId: 'a/b' }, 'ERR_OUT_OF_RANGE'],
    ['name', { migrationId: 'a'.repeat(65) }, 'ERR_OUT_OF_RANGE'],
    ['side', { side: 'middle' }, 'ERR_INVALID_ARG_VALUE'],
    ['order', { order: 17 }, 'ERR_OUT_OF_RANGE'],
    ['order', { order: 18.5 }, 'ERR_OUT_OF_RANGE'],
    ['digest', { digest: 'AB'.repeat(32) }, 'ERR_OUT_OF_RANGE'],
    ['decision', { decision: 'pending' }, 'ERR_INVALID_ARG_VALUE'],
  ])('takes nothing that it could not read back: a bad %s, %o', async (name, bad, code) => {
    await using journal = await begin();
    await journal.begin(record('a'));
    type Wanted = JournalRecord & { readonly decision: 'committed' };
    const wanted = { ...record('a'), decision: 'committed', ...bad } as Wanted;
    const { side, migrationId, decision } = wanted;
    const refused = { code };
    if (name !== 'decision') await expect(journal.begin(wanted)).rejects.toMatchObject(refused);
    if (name === 'name' || name === 'side')
      await expect(journal.find(side, migrationId)).rejects.toMatchObject(refused);
    if (name !== 'order' && name !== 'digest') {
      await expect(journal.decide(side, migrationId, decision)).rejects.toMatchObject(refused);
    }
    // Nor does it do any harm to what stands there.
    expect(await journal.decide('destination', 'a', 'aborted')).toBe('aborted');
  });

  test('does not begin again what was decided', async () => {
    await using journal = await begin();
    await journal.begin(record('a'));
    await journal.decide('destination', 'a', 'committed');
    await expect(journal.begin(record('a'))).rejects.toMatchObject({ code: 'ERR_HTAB_MIGRATION' });
    expect(await journal.find('destination', 'a')).toMatchObject({ state: 'committed' });
    await journal.begin(record('a', 'source'));
    expect(await journal.find('source', 'a')).toMatchObject({ state: 'pending' });
  });
});

describe('a journal file', () => {
  test('is for its owner only, and has one line for what was begun and one for what was decided', async () => {
    await using journal = await openJournal(file);
    await journal.begin(record('a'));
    await journal.decide('destination', 'a', 'committed');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const digest = 'ab'.repeat(32);
    const line = (state: string): string =>
      `{"migrationId":"a","side":"destination","state":"${state}","order":18,"digest":"${digest}"}`;
    expect(readFileSync(file, 'utf8').replaceAll(/^[\da-f]{8} /gm, '')).toBe(
      `#\n${line('pending')}\n#\n${line('committed')}\n`,
    );
  });

  test('is shared: whoever decides first is heard by all', async () => {
    await using ours = await openJournal(file);
    await using theirs = await openJournal(file);
    await ours.begin(record('a'));
    const decisions = await Promise.all([
      ours.decide('destination', 'a', 'committed'),
      theirs.decide('destination', 'a', 'aborted'),
    ]);
    expect(new Set(decisions).size).toBe(1);
    expect(await theirs.find('destination', 'a')).toMatchObject({ state: decisions[0] });
  });

  test('survives being cut anywhere: what is left whole stands, and what comes next is not harmed', async () => {
    const doubt = { code: 'ERR_HTAB_IN_DOUBT' };
    {
      await using journal = await openJournal(file);
      await journal.begin(record('a'));
      await journal.decide('destination', 'a', 'committed');
    }
    const whole = readFileSync(file);
    const firstEnd = whole.indexOf('\n', 2) + 1;
    const isBoundary = (length: number): boolean => [0, firstEnd, whole.length].includes(length);
    for (let length = 0; length <= whole.length; length += 5) {
      writeFileSync(file, whole);
      truncateSync(file, length);
      await using journal = await openJournal(file);
      const found = journal.find('destination', 'a');
      if (length > firstEnd && !isBoundary(length)) {
        await expect(found, `${length} bytes`).rejects.toMatchObject(doubt);
      } else {
        const state = length < firstEnd ? undefined : length === firstEnd ? 'pending' : 'committed';
        expect((await found)?.state, `${length} bytes`).toBe(state);
      }
      await journal.begin(record('b'));
      expect(await journal.decide('destination', 'b', 'aborted')).toBe('aborted');
    }
  });

  test.each<[string, (line: string) => string]>([
    ['another decision', (line) => line.replace('"committed"', '"aborted"')],
    ['a bit of its id', (line) => line.replace('"a"', '"c"')],
    ['its checksum', (line) => line.replace(/[\da-f]/, 'x')],
    ['its newline', (line) => line.replace(/\n$/, ' ')],
    ['what one block of a disk holds', (line) => line.slice(0, 20) + '\0'.repeat(line.length - 21) + '\n'],
  ])('with a damaged decision is in doubt about it, and never guesses: %s', async (_, damage) => {
    {
      await using journal = await openJournal(file);
      await journal.begin(record('a'));
      await journal.begin(record('b'));
      await journal.decide('destination', 'b', 'aborted');
      await journal.decide('destination', 'a', 'committed');
    }
    const text = readFileSync(file, 'utf8');
    const at = text.lastIndexOf('#\n') + 2;
    writeFileSync(file, text.slice(0, at) + damage(text.slice(at)));
    await using journal = await openJournal(file);
    const place = `line 8 (byte ${at}) is damaged`;
    const faults = [{ kind: 'damaged', line: 8, byteOffset: at }];
    const doubt = { code: 'ERR_HTAB_IN_DOUBT', faults, message: expect.stringContaining(place) as string };
    // Whether it was ever begun or not.
    for (const id of ['a', 'never-begun']) {
      await expect(journal.find('destination', id)).rejects.toMatchObject(doubt);
      await expect(journal.decide('destination', id, 'aborted')).rejects.toMatchObject(doubt);
      await expect(journal.begin(record(id))).rejects.toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        message: doubt.message,
      });
    }
    await expect(journal.entries('destination')).rejects.toMatchObject({
      ...doubt,
      proven: [{ ...record('b'), state: 'aborted' }],
      unproven: [{ ...record('a'), state: 'pending' }],
    });
    await expect(journal.entries('source')).rejects.toMatchObject({ ...doubt, proven: [], unproven: [] });
    // What had been decided before is not touched by it.
    expect(await journal.find('destination', 'b')).toMatchObject({ state: 'aborted' });
    expect(await journal.decide('destination', 'b', 'committed')).toBe('aborted');
  });

  test('in a folder that is not there is refused with its name', async () => {
    await expect(openJournal(path.join(folder, 'no', 'journal'))).rejects.toMatchObject({
      errnoName: 'ENOENT',
      operation: `open the journal ${path.join(folder, 'no', 'journal')}`,
    });
  });

  test.each(['{"name":"kvm-htab"}\n', '-----BEGIN PRIVATE KEY-----\n'.repeat(100_000)])(
    'is not begun in the file of somebody else, which stays as it is',
    async (text) => {
      writeFileSync(file, text);
      await expect(openJournal(file)).rejects.toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        message: expect.stringContaining('is not a journal') as string,
      });
      expect(readFileSync(file, 'utf8')).toBe(text);
    },
  );

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

  test('is of no use once it is closed', async () => {
    const journal = await openJournal(file);
    await journal.close();
    await expect(journal.begin(record('a'))).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
      state: 'closed',
    });
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

  test('full of lines that are none puts in doubt what stands before them, in no time that grows with both', async () => {
    {
      await using journal = await openJournal(file);
      await journal.begin(record('a'));
    }
    const line = readFileSync(file, 'latin1');
    const json = line.slice(line.indexOf('{'), -1);
    const lines = [line];
    for (let k = 0; k < 20_000; k++) {
      const renamed = json.replace('"a"', `"m-${k}"`);
      lines.push(`#\n${crc32(renamed).toString(16).padStart(8, '0')} ${renamed}\n`);
    }
    writeFileSync(file, lines.join('') + '\n'.repeat(4 << 20));
    await using journal = await openJournal(file);
    await expect(journal.find('destination', 'a')).rejects.toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
    const { unproven, faults } = await journal.entries('destination').then(
      () => expect.unreachable(),
      (error: unknown) => error as HtabJournalError,
    );
    expect(unproven).toHaveLength(20_001);
    expect(faults).toHaveLength(8);
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
