import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
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

test('both sides print the id of the migration once, as soon as they know it', async () => {
  const { codes, sent, received } = await move(['--migration-id', 'm-7']);
  expect(codes).toEqual([0, 0]);
  expect(sent).toMatch(/^migration m-7\nconnected to unix:/);
  expect(received).toMatch(/^listening at .*\nmigration m-7\n/);
  expect([sent, received].map((text) => text.split('migration m-7').length)).toEqual([2, 2]);
});

test('receive refuses a peer that speaks another protocol, and says so', async () => {
  const at = scratch('socket');
  const { stderr, stdout } = captureOutput();
  const receiving = run(['receive', `unix:${at}`, '--emulated'], { stdout, stderr });
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const junk = connect(at).on('error', () => undefined);
  junk.end('GET / HTTP/1.1\r\nHost: destination\r\n\r\n');
  await once(junk.resume(), 'close');
  await run(['send', `unix:${at}`, GUEST], captureOutput());
  expect(await receiving).toBe(0);
  expect(stderr.text).toMatch(/\nrefused a peer: received invalid data: .* is not a frame header\n/);
});

test('a send whose peer hangs up at once names the likely cause', async () => {
  const at = scratch('socket');
  const server = createServer((socket) => socket.destroy()).listen(at);
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { stderr, stdout } = captureOutput();
  expect(await run(['send', `unix:${at}`, GUEST, '--reconnect-ms', '0'], { stdout, stderr })).toBe(1);
  expect(stderr.text).toMatch(
    /kvm-htab: the connection ended .*before the destination sent anything: it may not accept this host's certificate.*; the guest runs on here\n$/,
  );
});

test('a send that cannot connect has printed its id too', async () => {
  const { stderr } = captureOutput();
  await run(['send', `unix:${scratch('nobody')}`, GUEST], { stdout: stderr, stderr });
  expect(stderr.text).toMatch(/^migration [\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\nkvm-htab: connect to /);
});

test('a send to another protocol ends with its first connection', async () => {
  const at = scratch('socket');
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  }).listen(at);
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { stderr, stdout } = captureOutput();
  expect(await run(['send', `unix:${at}`, GUEST], { stdout, stderr })).toBe(1);
  expect(stderr.text).toContain('is not a frame header');
  expect(connections).toBe(1);
});

test('a send with --wait-ms waits for its destination, and shows each attempt', async () => {
  for (const json of [false, true]) {
    const at = scratch('socket');
    const output = captureOutput();
    const { stderr, stdout } = output;
    const mode = json ? ['--json'] : [];
    const sending = run(['send', `unix:${at}`, GUEST, '--wait-ms', '600000', ...mode], output);
    await vi.waitFor(() => {
      expect(json ? stdout.text : stderr.text).toMatch(
        json ? /"reconnecting".*ENOENT/ : /ENOENT.*; trying again in 200 ms\n/,
      );
    }, 60_000);
    const receiving = run(['receive', `unix:${at}`, '--emulated'], captureOutput());
    expect(await Promise.all([sending, receiving])).toEqual([0, 0]);
  }
});

test('a guest that is already paused is moved without a control, and the output says so', async () => {
  const at = scratch('socket');
  const receiving = run(['receive', `unix:${at}`, '--emulated'], captureOutput());
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const { stderr, stdout } = captureOutput();
  const sending = run(['send', `unix:${at}`, GUEST, '--already-paused'], { stdout, stderr });
  expect(await Promise.all([sending, receiving])).toEqual([0, 0]);
  expect(stdout.text).toMatch(/^guest {14}was paused before$/m);
  expect(stdout.text).not.toContain('stopped for');
});

test('send says that a guest was already paused when the move fails', async () => {
  const { stderr, stdout } = captureOutput();
  const args = ['send', `unix:${scratch('nobody')}`, GUEST, '--already-paused'];
  expect(await run(args, { stdout, stderr })).toBe(1);
  expect(stderr.text).toMatch(/; the guest is here, paused as before\n$/);
});

test('the snapshot of a guest that is already paused says so', async () => {
  const { stderr, stdout } = captureOutput();
  expect(await run(['save', GUEST, '--already-paused', scratch('snapshot')], { stdout, stderr })).toBe(0);
  expect(stdout.text).toMatch(/^guest {14}was paused before$/m);
  expect(stderr.text).toMatch(/^pass 1, guest stopped 100%/m);
});

test.each([
  [['--expected-order', '18'], undefined],
  [['--min-bolted-entries', '0'], undefined],
  [['--min-bolted-entries', '16385'], 'bolted entries; at least 16385 are expected'],
  [['--page-shifts', '12,16,24'], undefined],
  [['--page-shifts', '24'], 'maps a page of 65536 bytes; the destination cannot map such pages'],
])('a destination that is given %j takes the table, or says why not', async (receiveArgs, refusal) => {
  const { codes, sent } = await move([], receiveArgs);
  expect(codes).toEqual(refusal === undefined ? [0, 0] : [1, 1]);
  if (refusal !== undefined) expect(sent).toContain(refusal);
});

test('receive --expected-order refuses another table, and takes the right one afterwards', async () => {
  const at = scratch('socket');
  const { stdout, stderr } = captureOutput();
  const args = ['receive', `unix:${at}`, '--emulated', '--expected-order', '20'];
  const receiving = run(args, { stdout, stderr });
  while (!existsSync(at)) await new Promise((resolve) => setImmediate(resolve));
  const wrong = captureOutput();
  expect(await run(['send', `unix:${at}`, GUEST], wrong)).toBe(1);
  expect(wrong.stderr.text).toContain("the source's table has order 18; order 20 is expected");
  expect(await run(['send', `unix:${at}`, '--emulated=order=20,rate=0'], captureOutput())).toBe(0);
  expect(await receiving).toBe(0);
  expect(stderr.text).toMatch(/^refused a peer: .*order 20 is expected/m);
});
