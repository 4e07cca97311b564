import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { FakeSource, fakeTarget, shut, withReturnPath } from '../qemu/relay/fake-qemus.js';
import { MigratingQemu } from '../qemu/qmp/migrating-qemu.js';
import { saveFile } from '../qemu/libvirt-writer.js';
import { capabilities, configuration, htabOf, record, streamOf } from '../qemu/stream-writer.js';
import { bytesOf, journalsOf } from '../migration/harness/damaged-journals.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();
const readme = readFileSync('lib/cli/README.md', 'utf8');
const [, section] = /^## JSON\n([^]*?)^## /m.exec(readme)!;

/** What the section says of each event and command: the row of a table, or the paragraph that begins with its name. */
const texts = new Map<string, string>();
for (const [, names, text] of section!.matchAll(/^\| (`.*?) +\| (.*) \|$/gm)) {
  for (const name of names!.replaceAll('`', '').split(', ')) texts.set(name, text!);
}
for (const [text, name] of section!.matchAll(/^`(\w+)` prints (?:.+\n)+/gm)) texts.set(name!, text);

/** Names of the fields that one text documents, and those texts that it refers to. */
function fieldsOf(name: string): Set<string> {
  const text = texts.get(name);
  if (text === undefined) throw new Error(`the README says nothing of ${name}`);
  const own = [...text.matchAll(/`(\w+)`/g)].map(([, field]) => field!);
  const others = [...text.matchAll(/\b(?:those|fields|as) of (?:the )?`([\w -]+)`/g)].map(
    ([, other]) => other!,
  );
  return new Set([...own, ...others.flatMap((other) => [...fieldsOf(other)])]);
}

/** What a command prints with --json. */
async function printed(...args: string[]): Promise<string> {
  const { stdout, stderr } = captureOutput();
  await run([...args, '--json'], { stdout, stderr });
  return stdout.text;
}

/** Names of all fields, at any depth; those of `capabilities` are what it lists. */
function namesIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(namesIn);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, field]) => [
    name,
    ...(name === 'capabilities' ? [] : namesIn(field)),
  ]);
}

/** @param at the rows and paragraphs that document the value */
function expectDocumented(value: object, ...at: readonly string[]): void {
  const documented = new Set(at.flatMap((name) => [...fieldsOf(name)]));
  const missing = [...new Set(namesIn(value))].filter((name) => !documented.has(name));
  expect({ at, missing }).toEqual({ at, missing: [] });
}

interface Event {
  readonly event: string;
  readonly time: string;
}

/** Events whose row holds for every command. */
const COMMON = ['failed', 'listening', 'metrics', 'refused'];

/** @param command the one that has a paragraph for its own events; other events have a row each */
function expectEvents(events: readonly Event[], command?: string): void {
  expect(events.length).toBeGreaterThan(0);
  for (const { event, time, ...fields } of events) {
    expect(Date.parse(time)).toBeGreaterThan(0);
    const rows = command === undefined || COMMON.includes(event) ? [event] : [];
    expectDocumented(fields, ...rows, ...(command === undefined ? [] : [command]));
  }
}

const eventsOf = (text: string): Event[] => text.trimEnd().split('\n').map((line) => JSON.parse(line) as Event); // prettier-ignore

/** Events of a `send` whose destination is not there when it first tries. */
async function sentTwice(): Promise<Event[]> {
  const at = `unix:${scratch('socket')}`;
  const { stdout, stderr } = captureOutput();
  const sending = run(['send', at, '--emulated=order=18', '--wait-ms', '100000', '--json'], {
    stdout,
    stderr,
  });
  while (!stdout.text.includes('reconnecting')) await new Promise((resolve) => setImmediate(resolve));
  await printed('receive', at, '--emulated');
  await sending;
  return eventsOf(stdout.text);
}

test('the README names every field of the events that send and receive print', async () => {
  const at = scratch('socket');
  const rest = ['--on-accept', 'true', '--on-discard', 'true', '--on-run', 'true'];
  const receiving = printed('receive', `unix:${at}`, '--emulated', '--metrics', '0', ...rest);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const junk = connect(at).on('error', () => undefined);
  junk.end('GET / HTTP/1.1\r\n\r\n');
  await once(junk.resume(), 'close');
  const guest = ['--emulated=order=18,steps=500,rate=500', '--on-finish', 'true'];
  const sent = eventsOf(await printed('send', `unix:${at}`, ...guest));
  const received = eventsOf(await receiving);
  const failed = eventsOf(await printed('send', 'unix:/nowhere', '--emulated'));
  const events = [...sent, ...received, ...failed, ...(await sentTwice())];
  expectEvents(events);
  const [, table] = /^\| event +\|[^\n]*\n([^]*?)\n\n/m.exec(section!)!;
  const named = table!.split('\n').flatMap((row) => [...row.split('|')[1]!.matchAll(/\w+/g)].map(String));
  expect(named.sort()).toEqual([...new Set(events.map(({ event }) => event))].sort());
});

test('the README names every field of what resolve prints, also of a damaged journal', async () => {
  const journal = scratch('journal');
  const entries = journalsOf('source')['three lines, one committed and one pending']!;
  const { bytes } = bytesOf(entries);
  writeFileSync(journal, bytes);
  const whole = eventsOf(await printed('resolve', '--journal', journal));
  expect(whole).toHaveLength(2);
  writeFileSync(journal, bytes.subarray(0, -3));
  const cut = eventsOf(await printed('resolve', '--journal', journal));
  expect(cut).toContainEqual(expect.objectContaining({ damage: [expect.objectContaining({ kind: 'cut' })] }));
  for (const line of [...whole, ...cut]) expectDocumented(line, 'resolve');
});

test('the README names every field of the events that relay prints', async () => {
  const at = scratch('a');
  const stream = withReturnPath(streamOf(htabOf(record(0, 128))));
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === stream.length) socket.end(shut(0));
  });
  const relaying = printed('relay', `unix:${at}`, target.address, '--metrics', '0');
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const source = new FakeSource(`unix:${at}`);
  await source.send(stream);
  const failed = eventsOf(await printed('relay', 'unix:/nowhere/a', 'unix:b'));
  expectEvents([...eventsOf(await relaying), ...failed], 'relay');
  await source.closed;
});

test('the README names every field of the events that watch prints', async () => {
  const places = ['--emulated=order=18,rate=2000', '--passes', '3', '--interval-ms', '20'];
  expectEvents(eventsOf(await printed('watch', ...places)), 'watch');
});

const noFile = scratch('none');
const noFolder = `${noFile}/x`;

/** Command lines that fail before there is a result; `-` in place of a file would move the event to stderr. */
const failing: readonly (readonly string[])[] = [
  ['save', '--emulated=order=18', noFolder],
  ['load', '--emulated', noFile],
  ['check', noFile],
  ['extract', noFile, '-o', noFolder],
  ['rewrite', noFile, '--table', noFile, '-o', noFolder],
  ['resolve', '--journal', noFile],
  ['doctor', '--device', noFile],
  ['inspect', noFile],
  ['diff', noFile, noFile],
  ['watch', '--vm-fd', '9999'],
  ['report', noFile, '-o', noFolder],
  ['fit', noFile, '--to', '18'],
  ['export', noFile, `${noFolder}.csv`],
  ['demo', '--order', '19', '--rate', '1000', '--save', noFolder],
  ['send', 'unix:/nowhere', '--emulated', '--journal', noFolder],
  ['receive', 'unix:/nowhere/a', '--emulated'],
  ['relay', 'unix:/nowhere/a', 'unix:b'],
];

test.each(failing)('%s --json says in a failed event why it failed', async (...args) => {
  const { stdout, stderr } = captureOutput();
  const code = await run([...args, '--json'], { stdout, stderr });
  const failed = eventsOf(stdout.text).filter(({ event }) => event === 'failed');
  expect(failed).toEqual([
    expect.objectContaining({ exitCode: code, message: expect.any(String) as string }),
  ]);
  expectEvents(failed, args[0] === 'relay' ? 'relay' : undefined);
});

test('the README names the option that a failure is about', async () => {
  const failed = eventsOf(await printed('send', 'unix:/nowhere', '--emulated', '--journal', noFolder));
  expect(failed).toEqual([expect.objectContaining({ event: 'failed', option: '--journal' })]);
  expectEvents(failed);
});

test('the README names every field of the document of a save from a migration', async () => {
  const { qemu } = await MigratingQemu.start(scratch('qmp'));
  const saved = JSON.parse(await printed('save', '--qmp', qemu.path, scratch('taken'))) as object;
  expect(saved).toMatchObject({ validEntries: 2, guestState: 'running', sharedBytes: 100 });
  expectDocumented(saved, 'save --qmp without a descriptor');
  qemu.close();
  const failed = await printed('save', '--qmp', qemu.path, scratch('refused'));
  expectEvents(eventsOf(failed));
});

test('the README names every field of the documents that the other commands print', async () => {
  const file = scratch('table');
  const expectDocument = async (at: string, ...args: string[]): Promise<void> => {
    expectDocumented(JSON.parse(await printed(...args)) as object, at);
  };
  const stream = scratch('guest.mig');
  // With a finding, so that its fields are there.
  const htab = htabOf(record(0, 128));
  writeFileSync(stream, saveFile(streamOf(htab, { config: configuration('m', capabilities('x-new')) })));
  const memory = scratch('memory');
  writeFileSync(memory, Buffer.alloc(2 ** 18));
  await expectDocument('check', 'check', stream);
  await expectDocument('check', 'check', memory);
  const text = scratch('htab');
  writeFileSync(text, '     8 0000000000000011 0000000000001190 0000000000001190\n');
  await expectDocument('check', 'check', text, '--order', '20');
  await expectDocument('extract', 'extract', stream, '-o', scratch('guest.hpt'));
  await expectDocument('rewrite', 'rewrite', stream, '--table', stream, '-o', scratch('new.mig'));
  await expectDocument('save', 'save', '--emulated=order=18,steps=500,rate=500', file);
  await expectDocument('load', 'load', '--emulated', file);
  await expectDocument('check', 'check', file);
  await expectDocument('probe', 'probe');
  await expectDocument('doctor', 'doctor', '--emulated');
  await expectDocument('inspect', 'inspect', file);
  await expectDocument('inspect --at', 'inspect', stream, '--ptex', '0');
  await expectDocument('diff', 'diff', file, stream);
  await expectDocument('report', 'report', file, '-o', scratch('report.html'));
  await expectDocument('fit', 'fit', file, '--to', '18');
  await expectDocument('advise', 'advise', '--memory', '1G');
  await expectDocument('export', 'export', file, scratch('guest.parquet'));
});

test.each([
  ['demo', ['--rate', '50000']],
  ['demo --whole-guest', ['--whole-guest', '--rate', '1000']],
] as const)('the README names every field of what %s prints', async (at, options) => {
  expectDocumented(JSON.parse(await printed('demo', '--order', '19', ...options)) as object, at);
});
