import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { FakeSource, fakeTarget, shut, withReturnPath } from '../qemu/relay/fake-qemus.js';
import { saveFile } from '../qemu/libvirt-writer.js';
import { capabilities, configuration, htabOf, record, streamOf } from '../qemu/stream-writer.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();
const readme = readFileSync('lib/cli/README.md', 'utf8');
const [, section] = /^## JSON\n([^]*?)^## /m.exec(readme)!;
const documented = new Set([...section!.matchAll(/`(\w+)`/g)].map(([, name]) => name!));

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

function expectDocumented(values: readonly unknown[]): void {
  expect(values.length).toBeGreaterThan(0);
  const names = [...new Set(values.flatMap(namesIn))];
  expect(names.filter((name) => !documented.has(name))).toEqual([]);
}

const eventsOf = (text: string): unknown[] => text.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown); // prettier-ignore

test('the README names every field of the events that send, receive and resolve print', async () => {
  const [at, journal] = [scratch('socket'), scratch('journal')];
  const rest = ['--on-accept', 'true', '--on-discard', 'true', '--on-run', 'true'];
  const receiving = printed('receive', `unix:${at}`, '--emulated', '--metrics', '0', ...rest);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const junk = connect(at).on('error', () => undefined);
  junk.end('GET / HTTP/1.1\r\n\r\n');
  await once(junk.resume(), 'close');
  const guest = ['--emulated=order=18,steps=500,rate=500', '--journal', journal, '--on-finish', 'true'];
  const sent = eventsOf(await printed('send', `unix:${at}`, ...guest));
  const received = eventsOf(await receiving);
  const failed = eventsOf(await printed('send', 'unix:/nowhere', '--emulated'));
  const names = [...sent, ...received, ...failed].map((event) => (event as { event: string }).event);
  expect([...new Set(names)].sort()).toEqual(
    ['connected', 'digest', 'done', 'failed', 'listening', 'metrics', 'outcome', 'pass', 'progress', 'refused', 'rest', 'state'], // prettier-ignore
  );
  expectDocumented([...sent, ...received, ...failed]);
  expectDocumented(eventsOf(await printed('resolve', '--journal', journal)));
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
  expectDocumented([...eventsOf(await relaying), ...failed]);
  await source.closed;
});

test('the README names every field of the documents that the other commands print', async () => {
  const file = scratch('table');
  const document = async (...args: string[]): Promise<unknown> => JSON.parse(await printed(...args));
  const stream = scratch('guest.mig');
  // With a finding, so that its fields are there.
  const htab = htabOf(record(0, 128));
  writeFileSync(stream, saveFile(streamOf(htab, { config: configuration('m', capabilities('x-new')) })));
  const text = scratch('htab');
  writeFileSync(text, '     8 0000000000000011 0000000000001190 0000000000001190\n');
  expectDocumented([
    await document('check', stream),
    await document('check', text, '--order', '20'),
    await document('extract', stream, '-o', scratch('guest.hpt')),
    await document('rewrite', stream, '--table', stream, '-o', scratch('new.mig')),
    await document('save', '--emulated=order=18,steps=500,rate=500', file),
    await document('load', '--emulated', file),
    await document('check', file),
    await document('probe'),
    await document('doctor', '--emulated'),
    await document('inspect', file),
    await document('inspect', file, '--ptex', '0'),
    await document('diff', file, file),
    await document('report', file, '-o', scratch('report.html')),
    ...eventsOf(
      await printed('watch', '--emulated=order=18,rate=2000', '--passes', '3', '--interval-ms', '20'),
    ),
    await document('fit', file, '--to', '18'),
    await document('advise', '--memory', '1G'),
    await document('export', file, scratch('guest.parquet')),
    await document('demo', '--order', '19', '--rate', '50000'),
    await document('demo', '--whole-guest', '--order', '19', '--rate', '1000'),
  ]);
});
