import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { describeError } from '../../lib/cli/errors/describe-error.js';
import { run } from '../../lib/cli/program.js';
import { hints } from '../../lib/vm/hints.js';
import { loadSecurity } from '../../lib/transport/security.js';
import { useFakeTime } from '../migration/harness/test-guest.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates } from '../transport/certificates.js';
import { captureOutput } from './capture.js';
import { FAILING_CALLS } from './failing-calls.js';
import { FAILING_COMMANDS } from './failing-commands.js';
import { failMigrations } from './failing-migrations.js';

// The messages for faults are kept in messages.golden, to be read as text. Other tests look at codes and fields, and are not
// about words. `npx vitest run test/cli/messages.test.ts -u` writes the file again.

const NO_NAME_SERVER = 'the name server does not answer; check DNS';
const UNKNOWN_HOST = 'unknown host; check the name and DNS';
const scratch = scratchFiles();

/** What the command prints last, as a person reads it, and its exit code. */
async function failureOf(args: readonly string[]): Promise<string> {
  const output = captureOutput();
  const code = await run(args, output);
  if (code === 0) throw new Error(`${args.join(' ')} does not fail`);
  if (output.stdout.text !== '') throw new Error(`${args.join(' ')} prints ${output.stdout.text}`);
  return `${code} ${output.stderr.text.trimEnd().split('\n').at(-1)!}`;
}

/** What a call of the library fails with. */
async function errorOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    const { name, code, message } = error as Error & { readonly code?: string };
    return `${name} ${code ?? '-'} ${message}`;
  }
  throw new Error('nothing failed');
}

async function commandMessages(): Promise<string[]> {
  const [file, folder, none] = [scratch('file'), scratch('folder'), scratch('none')];
  writeFileSync(file, 'another file\n');
  mkdirSync(folder);
  const paths: Readonly<Record<string, string>> = {
    P: none,
    F: file,
    D: folder,
    LONG: `/tmp/${'x'.repeat(103)}`,
  };
  const lines: string[] = [];
  for (const command of FAILING_COMMANDS) {
    const args = command
      .split(' ')
      .map((arg) => arg.replace(/(?<![\w-])(P|F|D|LONG)(?=$|\/)/, (name) => paths[name]!));
    const message = await failureOf(args);
    lines.push(
      `$ ${command}`,
      Object.entries(paths).reduce((text, [name, path]) => text.replaceAll(path, name), message),
    );
  }
  return lines;
}

async function libraryMessages(): Promise<string[]> {
  const lines: string[] = [];
  for (const [what, call] of Object.entries(FAILING_CALLS)) lines.push(`# ${what}`, await errorOf(call));
  return lines;
}

async function migrationMessages(): Promise<string[]> {
  useFakeTime();
  onTestFinished(() => void vi.useRealTimers());
  const files: string[] = [];
  const ends = await failMigrations(() => files[files.push(scratch('journal')) - 1]!);
  const lines = [...ends].flatMap(([what, { sent, received }]) => [
    `# ${what}`,
    ...endOf('source', sent),
    ...endOf('destination', received),
  ]);
  return lines.map((line) => files.reduce((text, file) => text.replaceAll(file, 'J'), line));
}

function endOf(side: string, end: PromiseSettledResult<unknown> | undefined): string[] {
  if (end === undefined || end.status === 'fulfilled') return [];
  const { code = '-' } = end.reason as { readonly code?: string };
  return [`${side}: ${code} ${describeError(end.reason)}`];
}

test('the messages for faults are those of messages.golden', async () => {
  const commands = await commandMessages();
  const library = await libraryMessages();
  const migrations = await migrationMessages();
  const hintLines = Object.entries(hints).flatMap(([call, hint]) => [`# ${call}`, hint]);
  const text = [...commands, '', ...library, '', ...migrations, '', ...hintLines, ''].join('\n');
  // A machine without a name server gets no answer for a host that does not exist.
  await expect(text.replaceAll(NO_NAME_SERVER, UNKNOWN_HOST)).toMatchFileSnapshot('messages.golden');
});

test('a port that is in use is named, also that of --metrics', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  expect(await failureOf(['receive', `tcp://${at}`, '--emulated'])).toContain(`listen at tcp://${at}: `);
  const metrics = await failureOf(['receive', 'unix:/s', '--emulated', '--metrics', at]);
  expect(metrics).toContain(`--metrics: listen at ${at}: `);
});

test.each([
  ['save', '--emulated=order=18,steps=0'],
  ['load', '--emulated'],
])('%s --json prints a failed event', async (command, place) => {
  const output = captureOutput();
  expect(await run([command, place, '--json', `${scratch('none')}/x`], output)).toBe(1);
  expect(JSON.parse(output.stdout.text)).toMatchObject({
    event: 'failed',
    exitCode: 1,
    code: 'ERR_HTAB_SYSTEM',
    message: expect.stringContaining('ENOENT') as string,
  });
});

test.skipIf(noCertificates !== undefined)('a file for TLS with other contents is named', async () => {
  const authority = new Authority('fleet', scratch);
  const one = authority.issue('DNS:a');
  const other = authority.issue('DNS:b');
  const failure = (files: Partial<typeof one>): Promise<unknown> =>
    loadSecurity({ kind: 'tls', host: '127.0.0.1', port: 0 }, { ...one, ...files }).catch(
      (error: unknown) => error,
    );
  expect(await failure({ cert: one.key })).toMatchObject({
    option: 'cert',
    message: `${one.key} is not a certificate in PEM form`,
  });
  expect(await failure({ key: one.cert })).toMatchObject({ option: 'key' });
  expect(await failure({ ca: one.key })).toMatchObject({ option: 'ca' });
  expect(await failure({ key: other.key })).toMatchObject({ option: 'cert' });
});
