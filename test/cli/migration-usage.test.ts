import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { byteRate, fraction, localPort } from '../../lib/cli/options/values.js';
import { run } from '../../lib/cli/program.js';
import { openJournal } from '../../lib/migration/journal/journal-file.js';
import { MemoryJournal } from '../../lib/migration/journal/memory-journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();

async function journalWith(state: 'pending' | 'committed' | 'aborted'): Promise<string> {
  const file = scratch('journal');
  const journal = await openJournal(file);
  await journal.begin({ side: 'destination', migrationId: 'm-1', order: 24, digest: 'ab'.repeat(32) });
  if (state !== 'pending') await journal.decide('destination', 'm-1', state);
  await journal.close();
  return file;
}

describe('the commands of a migration', () => {
  test.each(['send', 'receive', 'resolve'])('%s --help has examples', async (command) => {
    const output = captureOutput();
    expect(await run([command, '--help'], output)).toBe(0);
    expect(output.stdout.text).toContain(`$ kvm-htab ${command} `);
  });

  test.each(['send', 'save'])(
    '%s --help says what a killed --on-pause must not leave behind',
    async (command) => {
      const output = captureOutput();
      expect(await run([command, '--help'], output)).toBe(0);
      expect(output.stdout.text.replaceAll(/\s+/g, ' ')).toContain(
        'killed after --pause-timeout-ms. A daemon that it has called must not stop the guest later, after --on-resume',
      );
    },
  );

  test.each([
    ['1', 1],
    ['500k', 500_000],
    ['2.5M', 2_500_000],
    ['1G', 1_000_000_000],
  ])('a bandwidth of %s is %i bytes per second', (text, bytes) => {
    expect(byteRate(text)).toBe(bytes);
  });

  test.each(['', '0', '-1', '1m', '1 M', '1e6', '2000G', '0.4'])('"%s" is no bandwidth', (text) => {
    expect(() => byteRate(text)).toThrow('bytes per second');
  });

  test('a share of a CPU may be a fraction, within its range', () => {
    const share = fraction(0.001, 1);
    expect(['1', '0.03', '0.001'].map(share)).toEqual([1, 0.03, 0.001]);
    for (const text of ['', '0', '1.01', '-0.5', '.5', '3e-2', '3%']) {
      expect(() => share(text)).toThrow('It must be a number in 0.001..1.');
    }
  });

  test('metrics are served to this machine alone unless a host is named', () => {
    expect(localPort('9464')).toEqual({ host: '127.0.0.1', port: 9464 });
    expect(localPort('[::]:9464')).toEqual({ host: '::', port: 9464 });
  });
});

test('resolve without an answer leaves the migration in doubt: exit code 4, and the reason', async () => {
  const file = scratch('journal');
  const journal = await openJournal(file);
  await journal.begin({ side: 'source', migrationId: 'm-2', order: 24, digest: 'ab'.repeat(32) });
  await journal.close();
  const output = captureOutput();
  expect(await run(['resolve', '--journal', file, '--ask', `unix:${scratch('nobody')}`], output)).toBe(4);
  expect(output.stdout.text).toMatch(/^m-2 pending: in doubt/);
  expect(output.stderr.text).toMatch(/^kvm-htab: no answer about m-2: .*ENOENT/);
});

test('resolve does not create a journal under a mistyped name', async () => {
  const file = scratch('jornal');
  const output = captureOutput();
  expect(await run(['resolve', '--journal', file], output)).toBe(2);
  expect(output.stdout.text).toBe('');
  expect(existsSync(file)).toBe(false);
});

test.each([
  ['committed', 0, "the guest is the destination's"],
  ['aborted', 0, 'the guest stayed here'],
  ['unknown', 4, 'keep the guest stopped'],
] as const)('resolve asks without a journal too: %s', async (outcome, code, meaning) => {
  const journal = new MemoryJournal();
  await journal.begin({ side: 'destination', migrationId: 'm-1', order: 24, digest: 'ab'.repeat(32) });
  if (outcome !== 'unknown') await journal.decide('destination', 'm-1', outcome);
  const path = scratch('socket');
  const listener = createServer((socket) => void answerOutcomes(journal, socket)).listen(path);
  await once(listener, 'listening');
  const output = captureOutput();
  const asked = outcome === 'unknown' ? 'm-2' : 'm-1';
  expect(await run(['resolve', asked, '--ask', `unix:${path}`], output)).toBe(code);
  expect(output.stdout.text).toContain(meaning);
  listener.close();
});

describe('resolve of all that a journal knows', () => {
  const resolveAll = async (journal: string, ...args: string[]): Promise<{ code: number; text: string }> => {
    const output = captureOutput();
    const code = await run(['resolve', '--journal', journal, ...args], output);
    return { code, text: output.stdout.text };
  };

  test('prints decided migrations too: a send that was killed may have committed', async () => {
    const file = scratch('journal');
    await using journal = await openJournal(file);
    for (const migrationId of ['m-1', 'm-2', 'm-3']) {
      await journal.begin({ side: 'source', migrationId, order: 24, digest: 'ab'.repeat(32) });
    }
    await journal.decide('source', 'm-3', 'aborted');
    await journal.decide('source', 'm-2', 'committed');
    expect(await resolveAll(file)).toMatchObject({ code: 4 });
    await journal.decide('source', 'm-1', 'committed');
    const { code, text } = await resolveAll(file);
    expect(code).toBe(0);
    expect(text.split('\n')).toEqual([
      'm-3 aborted: the guest stayed here, and may run here unless another migration has moved it since',
      "m-2 committed: the guest is the destination's; it must not run here again",
      "m-1 committed: the guest is the destination's; it must not run here again",
      'a send that died is one of these; if it is not listed, it had not committed, and its guest is here, unless the disk has lost something',
      '',
    ]);
    const { text: json } = await resolveAll(file, '--json');
    expect(json.split('\n').length).toBe(4);
    expect(JSON.parse(json.split('\n')[1]!)).toMatchObject({
      migrationId: 'm-2',
      state: 'committed',
      meaning: "the guest is the destination's; it must not run here again",
    });
  });

  test('reports that the journal has no migration', async () => {
    const file = await journalWith('committed');
    expect(await resolveAll(file)).toEqual({
      code: 0,
      text: 'the journal has no migration at the source: a send that died with this journal, unless its disk has lost something, had not committed\n',
    });
    const empty = scratch('empty');
    await (await openJournal(empty)).close();
    expect(await resolveAll(empty, '--side', 'destination')).toEqual({
      code: 0,
      text: 'the journal has no migration at the destination\n',
    });
  });
});

describe('resolve at a destination', () => {
  test.each([
    ['pending', 4, 'prepared, and not told to commit'],
    ['committed', 0, 'the guest is here'],
    ['aborted', 0, "the guest is the source's"],
  ] as const)('tells what the journal says: %s', async (state, code, meaning) => {
    const output = captureOutput();
    const journal = await journalWith(state);
    expect(await run(['resolve', 'm-1', '--side', 'destination', '--journal', journal], output)).toBe(code);
    expect(output.stdout.text).toMatch(new RegExp(`^m-1 ${state}: .*${meaning}`));
  });

  test('can decide that it will never commit', async () => {
    const journal = await journalWith('pending');
    const args = ['resolve', 'm-1', '--side', 'destination', '--journal', journal, '--decide', 'aborted'];
    expect(await run(args, captureOutput())).toBe(0);
    const output = captureOutput();
    expect(await run(['resolve', '--side', 'destination', '--journal', journal], output)).toBe(0);
    expect(output.stdout.text).toMatch(/^m-1 aborted: the guest is the source's.*\n$/);
  });

  test.each([
    ['destination', 'committed', 'aborted', 1],
    ['destination', 'aborted', 'aborted', 0],
    ['source', 'committed', 'aborted', 1],
    ['source', 'aborted', 'committed', 1],
    ['source', 'committed', 'committed', 0],
  ] as const)('at the %s, %s: --decide %s ends with %d', async (side, state, decide, code) => {
    const file = scratch('journal');
    const journal = await openJournal(file);
    await journal.begin({ side, migrationId: 'm-1', order: 18, digest: 'a'.repeat(64) });
    await journal.decide(side, 'm-1', state);
    await journal.close();
    const output = captureOutput();
    const args = ['resolve', 'm-1', '--side', side, '--journal', file, '--decide', decide];
    expect(await run(args, output)).toBe(code);
    expect(output.stdout.text).toMatch(new RegExp(`^m-1 ${state}: `));
    const refusal = `migration m-1 is already ${state}; --decide ${decide} changes nothing`;
    expect(output.stderr.text.includes(refusal)).toBe(code === 1);
  });

  test('does not know of migrations that are not in the journal', async () => {
    const output = captureOutput();
    const journal = await journalWith('pending');
    expect(await run(['resolve', 'm-1', '--journal', journal, '--json'], output)).toBe(1);
    expect(JSON.parse(output.stdout.text)).toEqual({
      migrationId: 'm-1',
      side: 'source',
      state: 'none',
      meaning:
        'the journal does not have it: if id and journal are the right ones, it had not committed, and the guest is here',
    });
    const deciding = captureOutput();
    expect(await run(['resolve', 'm-1', '--journal', journal, '--decide', 'aborted'], deciding)).toBe(1);
    expect(deciding.stderr.text).toContain(
      'migration m-1 is not in the journal; --decide aborted changes nothing',
    );
  });
});
