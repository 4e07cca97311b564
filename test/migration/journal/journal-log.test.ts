import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { Journal, JournalEntry } from '../../../lib/migration/journal/journal.js';
import { openJournal } from '../../../lib/migration/journal/journal-file.js';
import { formatLine } from '../../../lib/migration/journal/journal-lines.js';
import { JournalLog } from '../../../lib/migration/journal/journal-log.js';
import { SeededRandom } from '../../../lib/base/random.js';
import { scratchFiles } from '../../scratch.js';

const scratch = scratchFiles();
let file: string;
beforeEach(() => {
  file = scratch('journal');
});

const unsynced = (cause: unknown): Error => new Error('not synced', { cause });

function entry(migrationId: string, state: JournalEntry['state'] = 'pending'): JournalEntry {
  return { migrationId, side: 'source', state, order: 24, digest: 'ab'.repeat(32) };
}

async function pendingOf(journal: Journal): Promise<JournalEntry[]> {
  return (await journal.entries('source')).filter(({ state }) => state === 'pending');
}

/** A journal of so many decided migrations, and one that is not. */
function longJournal(migrations: number): Buffer {
  const lines = [formatLine(entry('undecided'))];
  for (let k = 0; k < migrations; k++) {
    lines.push(formatLine(entry(`m-${k}`)), formatLine(entry(`m-${k}`, 'committed')));
  }
  return Buffer.concat(lines);
}

/** What a process that has ended would have called the file that continues the journal. */
function nextName(suffix = '0123abcd'): string {
  const namespace = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
  return `.journal-journal-${hostname()}-${namespace}-${spawnSync('true').pid}-${suffix}.tmp`;
}

const inFolder = (name: string): string => path.join(path.dirname(file), name);

describe('a journal that has grown long', () => {
  test('is continued in a short one after the next decision, with all that is undecided and the last decisions', async () => {
    writeFileSync(file, longJournal(4000), { mode: 0o600 });
    {
      await using journal = await openJournal(file);
      await journal.begin(entry('last'));
      expect(await journal.decide('source', 'last', 'aborted')).toBe('aborted');
    }
    expect(statSync(file).size).toBeLessThan(300_000);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(path.dirname(file))).toEqual(['journal']);
    await using journal = await openJournal(file);
    expect(await pendingOf(journal)).toEqual([entry('undecided')]);
    expect(await journal.find('source', 'last')).toEqual(entry('last', 'aborted'));
    expect(await journal.find('source', 'm-3001')).toEqual(entry('m-3001', 'committed'));
    expect(await journal.find('source', 'm-3000')).toBeUndefined();
  });

  test('keeps its mode; one that belongs to somebody else is left to its owner', async () => {
    writeFileSync(file, longJournal(4000));
    chmodSync(file, 0o640);
    const { size } = statSync(file);
    const decide = async (id: string): Promise<void> => {
      await using journal = await openJournal(file);
      await journal.begin({ migrationId: id, side: 'source', order: 24, digest: 'ab'.repeat(32) });
      await journal.decide('source', id, 'aborted');
    };
    if (process.geteuid?.() === 0) {
      chownSync(file, 65_534, 65_534);
      await decide('a');
      expect(statSync(file).size).toBeGreaterThan(size);
      expect(statSync(file)).toMatchObject({ uid: 65_534 });
      chownSync(file, 0, 65_534);
    }
    await decide('b');
    expect(statSync(file).size).toBeLessThan(size);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    if (process.geteuid?.() === 0) expect(statSync(file)).toMatchObject({ uid: 0, gid: 65_534 });
  });

  test('is left alone as long as what is undecided makes up most of it', async () => {
    const lines = Array.from({ length: 8000 }, (_, k) => formatLine(entry(`m-${k}`)));
    writeFileSync(file, Buffer.concat(lines));
    await using journal = await openJournal(file);
    await journal.decide('source', 'm-7', 'aborted');
    expect(await journal.find('source', 'm-7999')).toEqual(entry('m-7999'));
    expect((await pendingOf(journal)).length).toBe(7999);
    expect(statSync(file).size).toBeGreaterThan(1 << 20);
  });

  test('is continued behind a symbolic link, which stays one', async () => {
    const target = scratch('target');
    writeFileSync(target, longJournal(4000));
    symlinkSync(target, file);
    {
      await using journal = await openJournal(file);
      await journal.decide('source', 'undecided', 'aborted');
    }
    expect(statSync(target).size).toBeLessThan(300_000);
    await using journal = await openJournal(file);
    expect(await journal.find('source', 'undecided')).toEqual(entry('undecided', 'aborted'));
  });

  test.each([0, 1])(
    'ended by a process that died then: %i steps later it is the same journal',
    async (renamed) => {
      const long = longJournal(10);
      const next = nextName();
      writeFileSync(file, long);
      // Another process, with the long file open all the time.
      const other = await JournalLog.open(file);
      onTestFinished(() => other.close());
      writeFileSync(inFolder(next), formatLine(entry('undecided')));
      appendFileSync(file, formatLine({ continuedIn: next, bytes: long.length }));
      if (renamed === 1) await (await openJournal(file)).close();
      await other.append(entry('undecided', 'committed'), unsynced);
      await using journal = await openJournal(file);
      expect(await journal.find('source', 'undecided')).toEqual(entry('undecided', 'committed'));
      expect(await journal.find('source', 'm-1')).toBeUndefined();
      expect(readdirSync(path.dirname(file))).toEqual(['journal']);
    },
  );

  test('whose seal does not stand right behind what it has counted goes on, and what was begun for it is removed', async () => {
    const long = longJournal(10);
    const next = nextName();
    writeFileSync(inFolder(next), '');
    const seal = formatLine({ continuedIn: next, bytes: long.length });
    writeFileSync(file, Buffer.concat([long, formatLine(entry('between')), seal]));
    await using journal = await openJournal(file);
    expect(await pendingOf(journal)).toEqual([entry('undecided'), entry('between')]);
    expect(existsSync(inFolder(next))).toBe(false);
  });

  test('and is continued in a file that is gone is refused by its name', async () => {
    const long = longJournal(1);
    writeFileSync(file, Buffer.concat([long, formatLine({ continuedIn: 'gone', bytes: long.length })]));
    await expect(openJournal(file)).rejects.toMatchObject({
      errnoName: 'ENOENT',
      operation: expect.stringContaining('in gone') as unknown,
    });
  });

  test('never leads out of its folder', async () => {
    const long = longJournal(1);
    const seal = formatLine({ continuedIn: '../elsewhere', bytes: long.length });
    writeFileSync(file, Buffer.concat([long, seal]));
    await using journal = await openJournal(file);
    expect(await journal.find('source', 'm-0')).toEqual(entry('m-0', 'committed'));
  });

  test('by many at once, is continued again and again: no line is lost, and all hear the first decision', async () => {
    const random = new SeededRandom(1);
    const logs = await Promise.all(Array.from({ length: 4 }, () => JournalLog.open(file, 2000)));
    const heard = new Map<string, Set<string>>();
    let shortened = 0;
    let begun = 0;
    for (let round = 0; round < 150; round++) {
      await Promise.all(
        logs.map(async (log) => {
          const { size } = statSync(file);
          if (random.below(3) === 0) await log.compact();
          if (statSync(file).size < size) shortened++;
          const id = `m-${random.below(2) === 0 ? begun++ : Math.max(0, begun - 1 - random.below(4))}`;
          if (log.entries.find('source', id) === undefined) await log.append(entry(id), unsynced);
          if (random.below(2) === 0) {
            await log.append(entry(id, random.below(2) === 0 ? 'committed' : 'aborted'), unsynced);
            const told = heard.get(id) ?? new Set();
            heard.set(id, told.add(log.entries.find('source', id)!.state));
          }
        }),
      );
    }
    for (const log of logs) {
      await log.readOn();
      for (const [id, told] of heard) expect([...told], id).toEqual([log.entries.find('source', id)!.state]);
      for (let k = 0; k < begun; k++) expect(log.entries.find('source', `m-${k}`), `m-${k}`).toBeDefined();
      await log.close();
    }
    expect(shortened).toBeGreaterThan(1);
    expect(readdirSync(path.dirname(file))).toEqual(['journal']);
  });
});
