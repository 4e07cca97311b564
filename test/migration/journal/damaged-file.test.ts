import { linkSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { formatLine } from '../../../lib/migration/journal/journal-lines.js';
import type { Journal } from '../../../lib/migration/journal/journal.js';
import { abortUnlessDecided } from '../../../lib/migration/outcome.js';
import { scratchFiles } from '../../scratch.js';
import { bytesOf, entry, journalsOf } from '../harness/damaged-journals.js';

const scratch = scratchFiles();

describe('a journal file', () => {
  const write = (bytes: Buffer | string): string => {
    const file = scratch('journal');
    writeFileSync(file, bytes);
    return file;
  };
  const { bytes } = bytesOf(journalsOf('source')['two lines, committed']!);

  test('of which the first two bytes are damaged is not opened, and stays as it is', async () => {
    for (let bit = 0; bit < 16; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const file = write(damaged);
      await expect(openJournal(file), `bit ${bit}`).rejects.toMatchObject({
        code: 'ERR_HTAB_MIGRATION',
        message: expect.stringContaining('is not a journal, or its first line is damaged') as string,
      });
      expect(readFileSync(file).equals(damaged)).toBe(true);
    }
  });

  test.each(['#', '##', '###', '#\n', '##\n'])(
    'whose first write was cut to %j is an empty one, and nothing written to it is lost',
    async (start) => {
      const file = write(start);
      for (const id of ['a', 'b']) {
        await using journal = await openJournal(file);
        expect(await journal.find('source', id)).toBeUndefined();
        await journal.begin(entry('source', id, 'pending'));
        expect(await journal.decide('source', id, 'committed')).toBe('committed');
      }
      await using journal = await openJournal(file);
      expect(await journal.entries('source')).toEqual([
        entry('source', 'a', 'committed'),
        entry('source', 'b', 'committed'),
      ]);
      expect(await journal.entries('destination')).toEqual([]);
    },
  );

  test('that was cut takes new migrations, and says for good where it was cut', async () => {
    const file = write(bytes.subarray(0, bytes.length - 20));
    const at = bytes.lastIndexOf('#\n') + 2;
    const doubt = { faults: [{ kind: 'cut', line: 4, byteOffset: at }] };
    for (const id of ['a', 'b']) {
      await using journal = await openJournal(file);
      await journal.begin(entry('source', id, 'pending'));
      await journal.decide('source', id, 'aborted');
      expect(await journal.find('source', id)).toMatchObject({ state: 'aborted' });
      expect(await journal.find('source', 'J-1')).toMatchObject({ state: 'pending' });
      await expect(journal.find('source', 'never-begun')).rejects.toMatchObject(doubt);
      await expect(journal.entries('source')).rejects.toMatchObject(doubt);
    }
  });

  test('to which another process fails to append a line is no more in doubt than it was', async () => {
    const file = write(bytesOf([entry('destination', 'J-1', 'pending')]).bytes);
    await using journal = await openJournal(file);
    writeFileSync(file, formatLine(entry('destination', 'J-1', 'committed')).subarray(0, 100), { flag: 'a' });
    expect(await journal.find('destination', 'J-1')).toMatchObject({ state: 'pending' });
    expect(await journal.decide('destination', 'J-1', 'aborted')).toBe('aborted');
    await using again = await openJournal(file);
    expect(await again.find('destination', 'J-1')).toMatchObject({ state: 'aborted' });
  });

  test('with a line that another process has not ended yet has the line once it is', async () => {
    const line = formatLine(entry('destination', 'J-1', 'committed'));
    const begun = bytesOf([entry('destination', 'J-1', 'pending')]).bytes;
    for (const length of [1, 2, 3, 100, line.length - 1]) {
      const file = write(Buffer.concat([begun, line.subarray(0, length)]));
      await using journal = await openJournal(file);
      await expect(journal.find('destination', 'J-1')).rejects.toMatchObject({ code: 'ERR_HTAB_IN_DOUBT' });
      writeFileSync(file, line.subarray(length), { flag: 'a' });
      expect(await journal.find('destination', 'J-1')).toMatchObject({ state: 'committed' });
      expect(await journal.entries('destination')).toHaveLength(1);
    }
  });

  test.each<[string, (file: string) => string]>([
    ['itself', (file) => path.basename(file)],
    [
      'a link to itself',
      (file) => {
        linkSync(file, `${file}-2`);
        return path.basename(`${file}-2`);
      },
    ],
  ])('whose seal names %s ends with an error', async (_, nameOf) => {
    const file = write(bytes);
    const seal = formatLine({ continuedIn: nameOf(file), bytes: bytes.length });
    writeFileSync(file, seal, { flag: 'a' });
    await expect(openJournal(file)).rejects.toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
      message: expect.stringContaining('it is the same file, so its seal at line') as string,
    });
  });

  test('that is damaged decides again only what was decided', async () => {
    const [pending, committed] = journalsOf('destination')['two lines, committed']!;
    const damaged = Buffer.concat([
      bytesOf([pending!, committed!]).bytes,
      Buffer.from('#\nsomething else\n'),
    ]);
    await using journal: Journal = await openJournal(write(damaged));
    const asked = { migrationId: 'J-1', digest: committed!.digest };
    expect(await abortUnlessDecided(journal, asked)).toEqual({
      outcome: 'committed',
      digest: committed!.digest,
    });
    await expect(abortUnlessDecided(journal, { ...asked, migrationId: 'J-2' })).rejects.toThrow(
      'line 6 (byte',
    );
    await expect(journal.begin(entry('destination', 'J-2', 'pending'))).rejects.toMatchObject({
      code: 'ERR_HTAB_MIGRATION',
      message: expect.stringContaining('It takes no more migrations') as string,
    });
  });
});
