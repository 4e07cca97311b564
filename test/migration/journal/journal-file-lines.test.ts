import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import type { HtabJournalError } from '../../../lib/migration/journal/journal-damage.js';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { scratchFiles } from '../../scratch.js';
import { record } from './journal-record.js';

const scratch = scratchFiles();
let file: string;
beforeEach(() => {
  file = scratch('journal');
});

describe('a journal file', () => {
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
});
