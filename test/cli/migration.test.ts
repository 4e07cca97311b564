import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates } from '../transport/certificates.js';
import { CommandProcess, notCompiled, startReceive, startSend, type Ended } from './processes.js';
import { GUEST, BUSY_GUEST, ANY_PORT, NO_RETRY, expectMoved, errorOf } from './moved-guests.js';

const temporary = scratchFiles();

describe.skipIf(notCompiled !== undefined)(
  `two processes${notCompiled === undefined ? '' : ` (${notCompiled})`}`,
  () => {
    test.each([ANY_PORT, `unix:${temporary('socket')}`])('move a guest over %s', async (place) => {
      const { receiver, address } = await startReceive(place, '--emulated');
      const sender = startSend(address, ...BUSY_GUEST);
      const [sent, received] = await Promise.all([sender.ended, receiver.ended]);
      expectMoved(sent, received);
      const migrationId = sent.done!['migrationId'];
      expect(sent.events.slice(0, 2)).toMatchObject([
        { event: 'state', state: 'connecting', migrationId },
        { event: 'connected', migrationId },
      ]);
      expect(sent.events.map(({ event }) => event)).toEqual(
        expect.arrayContaining(['connected', 'state', 'pass', 'outcome']),
      );
      expect(sent.events.filter(({ event }) => event === 'state').map(({ state }) => state)).toEqual([
        'connecting',
        'copying',
        'stopped',
        'committing',
        'moved',
      ]);
      expect(sent.events.slice(-2).map(({ event }) => event)).toEqual(['done', 'digest']);
      const passes = ({ events }: Ended): unknown[] =>
        events.filter(({ event }) => event === 'pass').map(({ pass, bytes }) => [pass, bytes]);
      expect(passes(received)).toEqual(passes(sent));
    });

    const overTls = `move a guest over TLS${noCertificates === undefined ? '' : ` (${noCertificates})`}`;
    test.skipIf(noCertificates !== undefined)(overTls, async () => {
      const authority = new Authority('ours', temporary);
      const files = (name: string): string[] => {
        const { cert, key, ca } = authority.issue(name);
        return ['--cert', cert, '--key', key, '--ca', ca];
      };
      const { receiver, address } = await startReceive(
        'tls://127.0.0.1:0',
        '--emulated',
        ...files('IP:127.0.0.1'),
        ...['--peer-name', 'a.example'],
      );
      // A host of the same authority that is not the one expected.
      const other = await startSend(address, ...GUEST, ...files('DNS:c.example'), ...NO_RETRY).ended;
      expect(other.code).toBe(1);
      expect(await receiver.event('refused')).toMatchObject({ from: '127.0.0.1' });
      // A stranger, whose own authority is another.
      const stranger = new Authority('theirs', temporary).issue('DNS:a.example');
      const strangerFiles = ['--cert', stranger.cert, '--key', stranger.key, '--ca', stranger.ca];
      const refused = await startSend(address, ...GUEST, ...strangerFiles).ended;
      expect(refused.code).toBe(1);
      expect(errorOf(refused)).toMatch(/certificate/);

      const sender = startSend(address, ...BUSY_GUEST, ...files('DNS:a.example'));
      const [sent, received] = await Promise.all([sender.ended, receiver.ended]);
      expectMoved(sent, received);
    });

    test('a socket that systemd passes is listened at', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
      const receiver = new CommandProcess(['receive', 'systemd', '--emulated'], {
        shell: 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"',
        inherited: [fd],
      });
      server.close();
      expect(await receiver.event('listening')).toMatchObject({ address: `tcp://127.0.0.1:${port}` });
      const sender = startSend(`tcp://127.0.0.1:${port}`, ...GUEST);
      expectMoved(...(await Promise.all([sender.ended, receiver.ended])));
    });

    test('plaintext beyond this machine is refused by both, as wrong usage', async () => {
      const receiver = new CommandProcess(['receive', 'tcp://0.0.0.0:0', '--emulated']);
      const sender = startSend('tcp://192.0.2.1:7000', ...GUEST);
      for (const ended of await Promise.all([receiver.ended, sender.ended])) {
        expect(ended.code).toBe(2);
        expect(errorOf(ended)).toContain('--insecure-plaintext');
      }
    });
  },
);
