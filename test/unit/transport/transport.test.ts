import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectNet, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { inheritedSocket } from '../../../lib/cli/transport/activation.js';
import { parseAddress } from '../../../lib/cli/transport/address.js';
import { connect } from '../../../lib/cli/transport/connect.js';
import { listen, type Listener } from '../../../lib/cli/transport/listen.js';
import { loadSecurity, type SecurityOptions } from '../../../lib/cli/transport/security.js';
import { scratchFiles } from '../../scratch.js';
import { Authority, noCertificates, type HostFiles } from './certificates.js';

const never = new AbortController().signal;

interface Refusal {
  readonly reason: Error & { readonly code?: string };
  readonly from: string | undefined;
}

async function listenAt(
  text: string,
  options: SecurityOptions = {},
): Promise<{ listener: Listener; connections: AsyncIterator<Duplex>; refusals: Refusal[] }> {
  const refusals: Refusal[] = [];
  const address = parseAddress(text);
  const listener = await listen(address, await loadSecurity(address, options), (reason, from) => {
    refusals.push({ reason, from });
  });
  onTestFinished(() => {
    listener.close();
  });
  return { listener, connections: listener[Symbol.asyncIterator](), refusals };
}

async function connectTo(text: string, options: SecurityOptions = {}): Promise<Duplex> {
  const address = parseAddress(text);
  const channel = await connect(address, await loadSecurity(address, options), never);
  onTestFinished(() => {
    channel.destroy();
  });
  return channel;
}

/** Makes sure that what one end writes comes out at the other, both ways. */
async function expectConnected(ours: Duplex, theirs: Duplex): Promise<void> {
  for (const [from, to] of [
    [ours, theirs],
    [theirs, ours],
  ] as const) {
    from.write('ping');
    const read = (): Buffer | null => to.read(4) as Buffer | null;
    let bytes = read();
    for (; bytes === null; bytes = read()) await once(to, 'readable');
    expect(bytes.toString()).toBe('ping');
  }
}

async function next(connections: AsyncIterator<Duplex>): Promise<Duplex> {
  const result = await connections.next();
  if (result.done === true) throw new Error('the listener was closed');
  const channel = result.value;
  onTestFinished(() => {
    channel.destroy();
  });
  return channel;
}

const temporary = scratchFiles();

describe('plaintext', () => {
  test.each(['tcp://127.0.0.1:0', 'tcp://[::1]:0', 'tcp://localhost:0'])('goes over %s', async (address) => {
    const { listener, connections } = await listenAt(address);
    expect(listener.address).toMatch(/^tcp:\/\/(127\.0\.0\.1|\[::1\]):[1-9]\d*$/);
    const ours = await connectTo(listener.address);
    await expectConnected(ours, await next(connections));
  });

  test('goes over a Unix socket that only its owner can connect to', async () => {
    const socket = temporary('socket');
    const { listener, connections } = await listenAt(`unix:${socket}`);
    expect(listener.address).toBe(`unix:${socket}`);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const ours = await connectTo(listener.address);
    await expectConnected(ours, await next(connections));
    listener.close();
    expect(existsSync(socket)).toBe(false);
  });

  test.each(['tcp://0.0.0.0:0', 'tcp://[::]:0', 'tcp://192.0.2.1:7000'])(
    'is refused beyond this machine, listening at %s',
    async (address) => {
      await expect(listenAt(address)).rejects.toThrow(/is beyond this machine.*--insecure-plaintext/);
    },
  );

  test('is refused beyond this machine, connecting to an address or to a name that leads there', async () => {
    await expect(connectTo('tcp://192.0.2.1:7000')).rejects.toThrow(/192\.0\.2\.1 is beyond this machine/);
    // The machine's own name would do, but not every machine resolves it: 0.0.0.0 as a name of other spelling does.
    await expect(connectTo('tcp://0x0.0:7000')).rejects.toThrow(/0\.0\.0\.0 is beyond this machine/);
  });

  test('to a name that nobody knows fails, and does not end the process', async () => {
    await expect(connectTo('tcp://nobody.invalid:7000')).rejects.toThrow(/nobody\.invalid/);
  });

  test('may leave this machine with --insecure-plaintext', async () => {
    const { listener, connections } = await listenAt('tcp://0.0.0.0:0', { insecurePlaintext: true });
    const port = listener.address.split(':').at(-1)!;
    const ours = await connectTo(`tcp://127.0.0.1:${port}`);
    await expectConnected(ours, await next(connections));
  });

  test('has no certificates', async () => {
    for (const options of [{ cert: 'x' }, { key: 'x' }, { ca: 'x' }, { peerName: 'x' }]) {
      await expect(connectTo('tcp://127.0.0.1:1', options)).rejects.toThrow('are for TLS');
      await expect(listenAt('unix:/nowhere', options)).rejects.toThrow('are for TLS');
    }
  });
});

describe('a listener', () => {
  test('gives connections in the order they came in', async () => {
    const { listener, connections } = await listenAt('tcp://127.0.0.1:0');
    const channels = [];
    for (let i = 0; i < 3; i++) channels.push(await connectTo(listener.address));
    for (const channel of channels) await expectConnected(channel, await next(connections));
  });

  test('drops those that nobody has asked for when it is closed, and keeps the others', async () => {
    const { listener, connections } = await listenAt('tcp://127.0.0.1:0');
    const kept = await connectTo(listener.address);
    const theirs = await next(connections);
    const dropped = await connectTo(listener.address);
    await expectConnected(kept, theirs);
    listener.close();
    await once(dropped.resume(), 'close');
    await expectConnected(kept, theirs);
    expect(await connections.next()).toEqual({ value: undefined, done: true });
    await expect(connectTo(listener.address)).rejects.toMatchObject({ errnoName: 'ECONNREFUSED' });
  });

  test('takes over the Unix socket of a process that was killed, and none that somebody listens at', async () => {
    const socket = temporary('socket');
    const program = `require('net').createServer().listen(${JSON.stringify(socket)}, () => console.log())`;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await expect(listenAt(`unix:${socket}`)).rejects.toMatchObject({ errnoName: 'EADDRINUSE' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const { listener, connections } = await listenAt(`unix:${socket}`);
    await expectConnected(await connectTo(listener.address), await next(connections));
  });

  test('does not take a file for a socket', async () => {
    const file = temporary('file');
    writeFileSync(file, 'precious');
    await expect(listenAt(`unix:${file}`)).rejects.toMatchObject({ errnoName: 'EADDRINUSE' });
    expect(statSync(file).size).toBe(8);
  });

  test('at "systemd" needs the one socket that systemd passes, and leaves no trace of it to children', async () => {
    await expect(listenAt('systemd')).rejects.toThrow('systemd has passed no socket');
    const passed = (pid: string, count: string): NodeJS.ProcessEnv => ({
      LISTEN_PID: pid,
      LISTEN_FDS: count,
      LISTEN_FDNAMES: 'x',
      PATH: '/bin',
    });
    const environment = passed(String(process.pid), '1');
    expect(inheritedSocket(environment)).toBe(3);
    expect(environment).toEqual({ PATH: '/bin' });
    expect(() => inheritedSocket(passed('1', '1'))).toThrow('systemd has passed no socket');
    expect(() => inheritedSocket(passed(String(process.pid), '2'))).toThrow('systemd has passed 2 sockets');
  });
});

describe('connecting', () => {
  test('ends with the reason of an abort', async () => {
    const address = parseAddress('unix:/nowhere');
    const stop = new Error('enough');
    const security = await loadSecurity(address, {});
    await expect(connect(address, security, AbortSignal.abort(stop))).rejects.toBe(stop);
  });

  test('fails as the system says', async () => {
    await expect(connectTo('unix:/nowhere')).rejects.toMatchObject({ errnoName: 'ENOENT' });
    await expect(connectTo('systemd')).rejects.toThrow('"systemd" is an address to listen at');
  });
});

describe.skipIf(noCertificates !== undefined)(`TLS${noCertificates ? ` (${noCertificates})` : ''}`, () => {
  let authority: Authority;
  let source: HostFiles;
  let destination: HostFiles;
  let stranger: HostFiles;
  beforeAll(() => {
    authority = new Authority('ours', temporary);
    source = authority.issue('DNS:source.example');
    destination = authority.issue('DNS:destination.example,IP:127.0.0.1');
    stranger = new Authority('theirs', temporary).issue('IP:127.0.0.1');
  });

  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('connects two hosts of one authority, in TLS 1.3', async () => {
    const { listener, connections } = await listenAt('tls://127.0.0.1:0', destination);
    expect(listener.address).toMatch(/^tls:\/\/127\.0\.0\.1:/);
    const ours = await connectTo(listener.address, source);
    expect(ours).toMatchObject({ authorized: true });
    const theirs = await next(connections);
    expect(theirs).toMatchObject({ authorized: true });
    expect((theirs as unknown as { getProtocol(): string }).getProtocol()).toBe('TLSv1.3');
    await expectConnected(ours, theirs);
  });

  test.each([
    ['of another authority', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', () => ({ ...stranger, ca: destination.ca })],
    ['that has expired', 'CERT_HAS_EXPIRED', () => authority.issue('DNS:source.example', { expired: true })],
  ])('refuses a client with a certificate %s', async (_name, flaw, client) => {
    const { listener, connections, refusals } = await listenAt('tls://127.0.0.1:0', destination);
    // With TLS 1.3 the client has done its part of the handshake before it is refused.
    const refused = await connectTo(listener.address, client());
    // Nobody has asked it for anything yet: that it fails meanwhile ends no process.
    await once(refused.resume(), 'close');
    expect(refusals).toMatchObject([{ reason: { message: `its certificate does not hold: ${flaw}` } }]);
    // Nobody came through: the next to do so is the right one.
    const ours = await connectTo(listener.address, source);
    await expectConnected(ours, await next(connections));
  });

  test('refuses a client without a certificate, of an older TLS, and without TLS', async () => {
    const { listener, refusals } = await listenAt('tls://127.0.0.1:0', destination);
    const port = Number(listener.address.split(':').at(-1));
    const anonymous = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(anonymous.resume(), 'error');
    const older = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
    await once(older, 'error');
    const plain = connectNet({ port, host: '127.0.0.1' });
    plain.write('GET / HTTP/1.0\r\n\r\n');
    await once(
      plain.resume().on('error', () => undefined),
      'close',
    );
    expect(refusals.map(({ reason: { code, message } }) => [code, message])).toEqual([
      ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', 'peer did not return a certificate'],
      ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'unsupported protocol'],
      ['ERR_SSL_HTTP_REQUEST', 'the peer does not speak TLS: a send to here needs tls://'],
    ]);
  });

  test('refuses a server of another authority, or for another name, whatever the environment says', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    const theirs = await listenAt('tls://127.0.0.1:0', stranger);
    await expect(connectTo(theirs.listener.address, source)).rejects.toMatchObject({
      code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY/) as string,
    });
    await vi.waitFor(() => {
      expect(theirs.refusals.map(({ reason }) => reason.message)).toEqual([
        "it hung up in the TLS handshake: it may not accept this host's certificate",
      ]);
    });
    const ours = await listenAt('tls://127.0.0.1:0', authority.issue('DNS:destination.example'));
    await expect(connectTo(ours.listener.address, source)).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      message: expect.stringContaining('; if it is the right peer, name it with --peer-name') as string,
    });
    const named = { ...source, peerName: 'destination.example' };
    const channel = await connectTo(ours.listener.address, named);
    await expectConnected(channel, await next(ours.connections));
  });

  test('is told apart from a server without it', async () => {
    const plain = createServer((socket) => socket.end('KH no TLS')).listen(0, '127.0.0.1');
    onTestFinished(() => void plain.close());
    await once(plain, 'listening');
    const { port } = plain.address() as { port: number };
    await expect(connectTo(`tls://127.0.0.1:${port}`, source)).rejects.toThrow(
      'the peer does not speak TLS: is its address tcp://?',
    );
  });

  test('lets in only the client named by --peer-name', async () => {
    const { listener, connections, refusals } = await listenAt('tls://127.0.0.1:0', {
      ...destination,
      peerName: 'source.example',
    });
    const wrong = await connectTo(listener.address, authority.issue('DNS:other.example'));
    wrong.on('error', () => undefined);
    await once(wrong.resume(), 'close');
    expect(refusals.map(({ reason }) => reason.code)).toEqual(['ERR_TLS_CERT_ALTNAME_INVALID']);
    const right = await connectTo(listener.address, source);
    await expectConnected(right, await next(connections));
  });

  test('needs certificate, key and authority at both ends, and no --insecure-plaintext', async () => {
    for (const missing of ['cert', 'key', 'ca'] as const) {
      const { [missing]: _left, ...rest } = source;
      await expect(connectTo('tls://127.0.0.1:1', rest)).rejects.toThrow('TLS needs --cert, --key and --ca');
      await expect(listenAt('tls://127.0.0.1:0', rest)).rejects.toThrow('TLS needs --cert, --key and --ca');
    }
    await expect(connectTo('tls://127.0.0.1:1', { ...source, insecurePlaintext: true })).rejects.toThrow(
      '--insecure-plaintext contradicts TLS',
    );
    await expect(connectTo('tls://127.0.0.1:1', { ...source, key: '/nowhere' })).rejects.toThrow('ENOENT');
  });

  test('does not wait for ever for a server that says nothing', async () => {
    vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(AbortSignal.abort());
    const silent = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => {
      silent.close();
    });
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    await expect(connectTo(`tls://127.0.0.1:${port}`, source)).rejects.toThrow(
      'no connection within 10000 ms',
    );
  });
});
