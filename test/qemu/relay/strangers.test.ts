import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { relayMigration } from '../../../lib/qemu/relay/relay.js';
import { connect as connectTo, listen } from '../../../lib/transport/transport.js';
import { scratchFiles } from '../../scratch.js';
import {
  PAGE,
  RAM,
  RAM_END,
  endPart,
  header,
  htabOf,
  ramBlock,
  record,
  startPart,
  streamOf,
} from '../stream-writer.js';
import { FakeSource, fakeTarget, startRelay } from './fake-qemus.js';

const scratch = scratchFiles();

test('a connection that is no migration does not reach the destination, and changes nothing', async () => {
  const target = await fakeTarget(scratch('b'));
  const reasons: string[] = [];
  const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address, {
    onRefused: ({ message }) => reasons.push(message),
  });
  const path = address.slice('unix:'.length);
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'QE']) {
    const scan = connect(path).on('error', () => undefined);
    scan.end(bytes);
    await once(scan.resume(), 'close');
  }
  expect(reasons).toEqual([expect.stringContaining('47455420'), expect.stringContaining('2 bytes')]);
  const silent = new FakeSource(address);
  const source = new FakeSource(address);
  const stream = streamOf(htabOf(record(0, 1)));
  source.socket.write(stream.subarray(0, 60));
  while (target.received().length < 60) await setImmediate();
  for (const head of ['11223344', '16030100']) {
    const stranger = new FakeSource(address);
    stranger.socket.end(Buffer.from(head, 'hex'));
    await stranger.closed;
  }
  expect(reasons.slice(2)).toEqual([
    expect.stringContaining('multifd'),
    expect.stringContaining('tls-creds'),
  ]);
  source.socket.end(stream.subarray(60));
  while (target.received().length < stream.length) await setImmediate();
  target.sockets[0]!.end();
  expect(await result).toMatchObject({ validEntries: 1 });
  await Promise.all([source.closed, silent.closed, target.closed]);
  expect(target.sockets.length).toBe(1);
});

test('a refused connection is reported with the address that it came from', async () => {
  const target = await fakeTarget(scratch('b'));
  const listener = await listen('tcp://127.0.0.1:0');
  const refused = new Promise<string | undefined>((resolve) => {
    const onRefused = (_reason: Error, from: string | undefined): void => {
      resolve(from);
      listener.close();
    };
    relayMigration(listener, () => connectTo(target.address), { onRefused }).catch(() => undefined);
  });
  const scan = new FakeSource(listener.address);
  await scan.send(Buffer.from('GET / HTTP/1.1'));
  expect(await refused).toBe('127.0.0.1');
  target.server.close();
});

/** What a further connection of a multifd source begins with. */
const channel = Buffer.concat([Buffer.of(0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1), Buffer.alloc(56)]);

test.each(['before', 'after'])(
  'a connection of multifd %s the migration ends it while no memory has gone by',
  async (when) => {
    const target = await fakeTarget(scratch('b'));
    const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
    const source = new FakeSource(address);
    const other = new FakeSource(address);
    if (when === 'before') other.socket.write(channel);
    await setImmediate();
    source.socket.write(header);
    if (when === 'after') other.socket.write(channel);
    await expect(result).rejects.toThrow(/migrate_set_capability multifd off/);
    await Promise.all([source.closed, other.closed]);
    target.server.close();
  },
);

test('a connection of multifd is refused once memory goes by', async () => {
  const stream = streamOf(htabOf(record(0, 1)), {
    ram: [startPart(RAM, 'ram', ramBlock(65_536), 4), endPart(RAM, Buffer.concat([PAGE, RAM_END]))],
  });
  const memory = stream.indexOf(PAGE) + PAGE.length;
  const target = await fakeTarget(scratch('b'), (received, socket) => {
    if (received.length === stream.length) socket.end();
  });
  const { address, result } = await startRelay(`unix:${scratch('a')}`, target.address);
  const source = new FakeSource(address);
  source.socket.write(stream.subarray(0, memory));
  while (target.received().length < memory) await setImmediate();
  const stranger = new FakeSource(address);
  stranger.socket.write(channel);
  await stranger.closed;
  source.socket.end(stream.subarray(memory));
  expect(await result).toMatchObject({ validEntries: 1 });
});
