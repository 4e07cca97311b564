import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { byteRate, localPort } from '../../lib/cli/commands/values.js';
import { describeError } from '../../lib/cli/describe-error.js';
import { run } from '../../lib/cli/program.js';
import { openJournal } from '../../lib/migration/journal-file.js';
import { MemoryJournal } from '../../lib/migration/journal.js';
import { answerOutcomes } from '../../lib/migration/outcome.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();

const HOOKS = ['--on-pause', 'true', '--on-resume', 'true'];

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
        'it is killed, and a daemon that it has asked must not stop the guest later, after --on-resume',
      );
    },
  );

  test.each([
    [['send'], "missing required argument 'address'"],
    [['send', 'b.example:7000', '--emulated'], 'It must be tls://HOST:PORT, tcp://HOST:PORT or unix:PATH.'],
    [['send', 'unix:/s', '--emulated', '--bandwidth', '0'], 'such as 500k or 2.5M'],
    [
      ['send', 'unix:/s', '--emulated', '--if-not-converging', 'pray'],
      'Allowed choices are stop, throttle, give-up',
    ],
    [['send', 'unix:/s', '--emulated', '--json', '--quiet'], 'cannot be used with'],
    [['send', 'unix:/s', '--emulated', '--on-pause', 'x'], '--on-pause and --on-resume go together'],
    [['send', 'tls://b.example:7000', '--emulated'], 'TLS needs --cert, --key and --ca'],
    [['receive', 'systemd', '--emulated'], 'systemd has passed no socket'],
    [['receive', 'tcp://127.0.0.1:0'], 'say where the table is'],
    // Before the destination is asked for anything: nobody listens there.
    [['send', 'unix:/nowhere/socket'], 'say where the table is'],
    [['send', 'unix:/nowhere/socket', '--pid', '1'], '--pid and --pid-fd go together'],
    [
      ['send', 'unix:/nowhere/socket', '--emulated', '--migration-id', 'a b'],
      "'--migration-id <id>' argument 'a b'",
    ],
    [['send', 'unix:/nowhere/socket', '--htab-fd', '3', '--order', '24'], 'say how to stop the guest'],
    [
      ['send', 'unix:/nowhere/socket', '--emulated', '--if-not-converging', 'throttle'],
      'needs --on-throttle',
    ],
    [
      ['send', 'unix:/nowhere/socket', '--htab-socket', '/s', ...HOOKS, '--if-not-converging', 'throttle'],
      'needs --on-throttle',
    ],
    [
      ['send', 'unix:/nowhere/socket', '--htab-fd', '3', '--order', '24', ...HOOKS, '--recheck-source'],
      '--recheck-source needs a VMM',
    ],
    [['receive', 'unix:/s', '--emulated', '--metrics', 'everywhere'], 'It must be PORT or HOST:PORT.'],
    [['resolve', 'm-1'], 'without a --journal, say which migration it is about and whom to --ask'],
    [['resolve', '--ask', 'unix:/s'], 'without a --journal, say which migration'],
    [
      ['resolve', 'm 1', '--ask', 'unix:/s'],
      "invalid for argument 'migration-id'. It must be 1 to 64 letters",
    ],
    [['resolve', '--journal', '/nowhere/journal'], 'there is no journal /nowhere/journal'],
    [['resolve', '--journal', '/dev/null', '--decide', 'aborted'], '--decide needs the migration'],
    [
      ['resolve', '--journal', '/dev/null', '--ask', 'unix:/s', '--side', 'destination'],
      'can only be looked at',
    ],
    [
      ['resolve', 'm-1', '--journal', '/dev/null', '--decide', 'committed', '--side', 'destination'],
      'can only be looked at',
    ],
  ])('%j is wrong usage, exit code 2', async (args, message) => {
    const output = captureOutput();
    expect(await run(args, output)).toBe(2);
    expect(output.stderr.text).toContain(message);
    expect(output.stdout.text).toBe('');
  });

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

  test('metrics are served to this machine alone unless a host is named', () => {
    expect(localPort('9464')).toEqual({ host: '127.0.0.1', port: 9464 });
    expect(localPort('[::]:9464')).toEqual({ host: '::', port: 9464 });
  });
});

test('resolve says that what nobody answers for stays in doubt, by its exit code, and why', async () => {
  const file = scratch('journal');
  const journal = await openJournal(file);
  await journal.begin({ side: 'source', migrationId: 'm-2', order: 24, digest: 'ab'.repeat(32) });
  await journal.close();
  const output = captureOutput();
  expect(await run(['resolve', '--journal', file, '--ask', `unix:${scratch('nobody')}`], output)).toBe(4);
  expect(output.stdout.text).toMatch(/^m-2 pending: in doubt/);
  expect(output.stderr.text).toMatch(/^kvm-htab: nobody answered for m-2: .*ENOENT/);
});

test('resolve does not begin a journal by a name that was mistyped', async () => {
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

  test('tells what has been decided too: a send that was killed may have committed', async () => {
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
      'a send that died is one of these, or had not come so far that it was written down: then its guest is here',
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

  test('says so where there is nothing', async () => {
    const file = await journalWith('committed');
    expect(await resolveAll(file)).toEqual({
      code: 0,
      text: 'the journal knows of no migration at the source: a send that died had not committed, and its guest is here\n',
    });
    const empty = scratch('empty');
    await (await openJournal(empty)).close();
    expect(await resolveAll(empty, '--side', 'destination')).toEqual({
      code: 0,
      text: 'the journal knows of no migration at the destination\n',
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

  test('can decide that it will not commit any more', async () => {
    const journal = await journalWith('pending');
    const args = ['resolve', 'm-1', '--side', 'destination', '--journal', journal, '--decide', 'aborted'];
    expect(await run(args, captureOutput())).toBe(0);
    const output = captureOutput();
    expect(await run(['resolve', '--side', 'destination', '--journal', journal], output)).toBe(0);
    expect(output.stdout.text).toMatch(/^m-1 aborted: the guest is the source's.*\n$/);
  });

  test('does not know of migrations that are not in the journal', async () => {
    const output = captureOutput();
    const journal = await journalWith('pending');
    expect(await run(['resolve', 'm-1', '--journal', journal], output)).toBe(2);
    expect(output.stderr.text).toContain('the journal knows of no migration m-1 at the source');
  });
});

describe('what is said of an error', () => {
  test('names options as the command line does', () => {
    expect(describeError(new Error('up to 21 is taken (maxOrder)'))).toBe('up to 21 is taken (--max-order)');
    expect(describeError(new Error('x', { cause: new Error('allow more (stopLimitMs)') }))).toBe(
      'x: allow more (--stop-limit-ms)',
    );
  });

  test('is its message and those of its causes, each once', () => {
    const refused = new Error('connect ECONNREFUSED');
    expect(describeError(new Error('unreachable', { cause: refused }))).toBe(
      'unreachable: connect ECONNREFUSED',
    );
    expect(describeError(new Error('no: connect ECONNREFUSED', { cause: refused }))).toBe(
      'no: connect ECONNREFUSED',
    );
    expect(describeError(new AggregateError([refused, new Error('second')], 'both'))).toBe(
      'both: connect ECONNREFUSED: second',
    );
    expect(describeError('enough')).toBe('enough');
  });
});
