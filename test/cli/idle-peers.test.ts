import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates, type HostFiles } from '../transport/certificates.js';
import { notCompiled, startReceive, startSend } from './processes.js';

const scratch = scratchFiles();
const reason = notCompiled ?? noCertificates;
const GUEST = '--emulated=order=18';

/** A peer that connects, and keeps the connection. */
async function connectTo(address: string): Promise<Socket> {
  const [, path] = /^unix:(.*)$/.exec(address) ?? [];
  const [, host, port] = /^\w+:\/\/(.*):(\d+)$/.exec(address) ?? [];
  const socket = path === undefined ? connect(Number(port), host) : connect(path);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined).resume();
  await once(socket, 'connect');
  return socket;
}

describe.skipIf(reason !== undefined)(
  `peers that keep a connection${reason === undefined ? '' : ` (${reason})`}`,
  () => {
    let source: string[];
    let destination: string[];
    let stranger: string[];
    beforeAll(() => {
      const options = ({ cert, key, ca }: HostFiles): string[] => ['--cert', cert, '--key', key, '--ca', ca];
      const authority = new Authority('fleet', scratch);
      source = options(authority.issue('DNS:host-a'));
      destination = options(authority.issue('DNS:host-b,IP:127.0.0.1'));
      const other = new Authority('other', scratch).issue('DNS:host-a');
      stranger = options({ ...other, ca: authority.issue('DNS:host-c').ca });
    });

    test.each<[string, () => string, () => string[], () => string[]]>([
      ['tls', () => 'tls://127.0.0.1:0', () => destination, () => source],
      ['tcp', () => 'tcp://127.0.0.1:0', () => [], () => []],
      ['unix', () => `unix:${scratch('socket')}`, () => [], () => []],
    ])('do not hold a receive over %s that is done', async (_, place, ours, theirs) => {
      const { receiver, address } = await startReceive(place(), '--emulated', ...ours());
      const silent = await connectTo(address);
      const trickling = await connectTo(address);
      trickling.write(Buffer.from([0x16]));
      const sent = await startSend(address, GUEST, ...theirs()).ended;
      // They stay as long as the other end lets them.
      const received = await receiver.ended;
      expect([sent.code, received.code]).toEqual([0, 0]);
      for (const socket of [silent, trickling]) if (!socket.closed) await once(socket, 'close');
    });

    test('give way to a source with a certificate, a thousand of them, and are told of in a few lines', async () => {
      const { receiver, address } = await startReceive('tls://127.0.0.1:0', '--emulated', ...destination);
      for (let count = 0; count < 1000; count += 50) {
        await Promise.all(Array.from({ length: 50 }, () => connectTo(address)));
      }
      const sent = await startSend(address, GUEST, ...source).ended;
      const received = await receiver.ended;
      expect([sent.code, received.code]).toEqual([0, 0]);
      const refused = received.events.filter(({ event }) => event === 'refused');
      expect(new Set(refused.map(({ from, message }) => `${String(from)}: ${String(message)}`))).toEqual(
        new Set(['127.0.0.1: the connection was idle, and 512 newer ones wait']),
      );
      expect(refused.reduce((sum, { count }) => sum + Number(count), 0)).toBe(489);
      expect(refused.length).toBeLessThan(100);
    });

    test('are told of with their address where their certificate is not accepted', async () => {
      const { receiver, address } = await startReceive('tls://127.0.0.1:0', '--emulated', ...destination);
      const refused = await startSend(address, GUEST, '--reconnect-ms', '0', ...stranger).ended;
      expect(refused.code).toBe(1);
      expect(await receiver.event('refused')).toMatchObject({ from: '127.0.0.1', count: 1 });
      expect((await startSend(address, GUEST, ...source).ended).code).toBe(0);
      expect((await receiver.ended).code).toBe(0);
    });
  },
);
