import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { run } from '../../lib/cli/program.js';
import { scratchFiles } from '../scratch.js';
import { captureOutput } from './capture.js';

const scratch = scratchFiles();
const GUEST = '--emulated=order=18,steps=100';

/** Moves a guest between two commands in this process, for people; what each has said. */
async function move(
  sendArgs: readonly string[] = [],
  receiveArgs: readonly string[] = [],
): Promise<{ codes: number[]; sent: string; received: string }> {
  const at = scratch('socket');
  const [source, destination] = [captureOutput(), captureOutput()];
  const receiving = run(['receive', `unix:${at}`, '--emulated', ...receiveArgs], destination);
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const sending = run(['send', `unix:${at}`, GUEST, ...sendArgs], source);
  const codes = await Promise.all([sending, receiving]);
  return { codes, sent: source.stderr.text, received: destination.stderr.text };
}

test('both sides say the name of the migration as soon as they know it, and once', async () => {
  const { codes, sent, received } = await move(['--migration-id', 'm-7']);
  expect(codes).toEqual([0, 0]);
  expect(sent).toMatch(/^migration m-7\nconnected to unix:/);
  expect(received).toMatch(/^listening at .*\nmigration m-7\n/);
  expect([sent, received].map((text) => text.split('migration m-7').length)).toEqual([2, 2]);
});

test('a peer that speaks another protocol is refused, and that is said', async () => {
  const at = scratch('socket');
  const { stderr, stdout } = captureOutput();
  const receiving = run(['receive', `unix:${at}`, '--emulated'], { stdout, stderr });
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const junk = connect(at).on('error', () => undefined);
  junk.end('GET / HTTP/1.1\r\nHost: destination\r\n\r\n');
  await once(junk.resume(), 'close');
  await run(['send', `unix:${at}`, GUEST], captureOutput());
  expect(await receiving).toBe(0);
  expect(stderr.text).toMatch(/\nrefused a peer: what the peer sent is no good: .* begins no frame\n/);
});

test('a send whose peer hangs up without a word says what it may be', async () => {
  const at = scratch('socket');
  const server = createServer((socket) => socket.destroy()).listen(at);
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { stderr, stdout } = captureOutput();
  expect(await run(['send', `unix:${at}`, GUEST, '--reconnect-ms', '0'], { stdout, stderr })).toBe(1);
  expect(stderr.text).toMatch(
    /kvm-htab: the connection ended .*before the peer had said anything: it may not accept this host's certificate.*; the guest runs on here\n$/,
  );
});

test('a send that cannot connect has said a name too', async () => {
  const { stderr } = captureOutput();
  await run(['send', `unix:${scratch('nobody')}`, GUEST], { stdout: stderr, stderr });
  expect(stderr.text).toMatch(/^migration [\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\nkvm-htab: connect to /);
});
