import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { scratchFiles } from '../../scratch.js';
import { type Journal, type JournalRecord } from '../../../lib/migration/journal/journal.js';
import { MemoryJournal } from '../../../lib/migration/journal/memory-journal.js';
import { record } from './journal-record.js';

const scratch = scratchFiles();
let folder: string;
let file: string;
beforeEach(() => {
  file = scratch('journal');
  folder = path.dirname(file);
});

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

  test('is of no use once it is closed', async () => {
    const journal = await openJournal(file);
    await journal.close();
    await expect(journal.begin(record('a'))).rejects.toMatchObject({
      code: 'ERR_HTAB_STATE',
      state: 'closed',
    });
  });
});
