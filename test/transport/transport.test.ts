import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectNet, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { inheritedSocket } from '../../lib/transport/activation.js';
import type { Listener } from '../../lib/transport/listen.js';
import type { SecurityOptions } from '../../lib/transport/security.js';
import { connect, listen } from '../../lib/transport/transport.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates, type HostFiles } from './certificates.js';

interface Refusal {
  readonly reason: Error & { readonly code?: string };
  readonly from: string | undefined;
}

async function listenAt(
  text: string,
  options: SecurityOptions = {},
): Promise<{ listener: Listener; connections: AsyncIterator<Duplex>; refusals: Refusal[] }> {
  const refusals: Refusal[] = [];
  const onRefused = (reason: unknown, from: string | undefined): void => {
    refusals.push({ reason: reason as Error, from });
  };
  const listener = await listen(text, { ...options, onRefused });
  onTestFinished(() => {
    listener.close();
  });
  return { listener, connections: listener[Symbol.asyncIterator](), refusals };
}

async function connectTo(text: string, options: SecurityOptions = {}): Promise<Duplex> {
  const channel = await connect(text, options);
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
      await expect(listenAt(address)).rejects.toThrow(/without TLS/);
    },
  );

  test('is refused beyond this machine, connecting to an address or to a name that leads there', async () => {
    await expect(connectTo('tcp://192.0.2.1:7000')).rejects.toThrow(/192\.0\.2\.1 .*without TLS/);
    // The machine's own name would do, but not every machine resolves it: 0.0.0.0 as a name of other spelling does.
    await expect(connectTo('tcp://0x0.0:7000')).rejects.toThrow(/0\.0\.0\.0 .*without TLS/);
  });

  test('to an unknown host fails, and does not end the process', async () => {
    await expect(connectTo('tcp://nobody.invalid:7000')).rejects.toThrow(/nobody\.invalid/);
  });

  test('may leave this machine with insecurePlaintext', async () => {
    const { listener, connections } = await listenAt('tcp://0.0.0.0:0', { insecurePlaintext: true });
    const port = listener.address.split(':').at(-1)!;
    const ours = await connectTo(`tcp://127.0.0.1:${port}`);
    await expectConnected(ours, await next(connections));
  });

  test('has no certificates', async () => {
    for (const options of [{ cert: 'x' }, { key: 'x' }, { ca: 'x' }, { peerName: 'x' }]) {
      const refusal = { code: 'ERR_INVALID_ARG_VALUE', option: Object.keys(options)[0] };
      await expect(connectTo('tcp://127.0.0.1:1', options)).rejects.toMatchObject(refusal);
      await expect(listenAt('unix:/nowhere', options)).rejects.toMatchObject(refusal);
    }
  });
});

describe.each([
  ['listen', listen],
  ['connect', connect],
])('%s', (_name, call) => {
  test.each(['', 'localhost', 'http://localhost:1', 'tls://localhost', 'tcp://::1:7000', 'unix:'])(
    'refuses the address %j, and says what is expected',
    async (address) => {
      await expect(call(address)).rejects.toMatchObject({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining(`tls://HOST:PORT`) as unknown,
      });
    },
  );

  test('refuses arguments of the wrong type', async () => {
    const code = 'ERR_INVALID_ARG_TYPE';
    await expect(call(7000 as never)).rejects.toMatchObject({ name: 'TypeError', code });
    await expect(call('unix:/nowhere', null as never)).rejects.toMatchObject({ name: 'TypeError', code });
  });
});

describe('a listener', () => {
  test('is closed at the end of a using block', async () => {
    let at: string;
    {
      using listener = await listen('tcp://127.0.0.1:0');
      at = listener.address;
    }
    await expect(connect(at)).rejects.toMatchObject({ errnoName: 'ECONNREFUSED' });
  });

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
  test('ends with the reason of an aborted signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(connect('unix:/nowhere', { signal })).rejects.toThrow('enough');
  });

  test('fails as the system says', async () => {
    await expect(connectTo('unix:/nowhere')).rejects.toMatchObject({ errnoName: 'ENOENT' });
    await expect(connectTo('systemd')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      option: 'address',
    });
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
    expect(refusals).toMatchObject([
      { reason: { message: `the peer's certificate is not valid: ${flaw}` }, from: '127.0.0.1' },
    ]);
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
    expect(refusals.map(({ from }) => from)).toEqual(Array(3).fill('127.0.0.1'));
    expect(refusals.map(({ reason: { code, message } }) => [code, message])).toEqual([
      ['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', 'peer did not return a certificate'],
      ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'unsupported protocol'],
      ['ERR_SSL_HTTP_REQUEST', 'the peer does not speak TLS; a peer has to connect to a tls:// address'],
    ]);
  });

  test('refuses a server of another authority, or for another name, whatever the environment says', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    const theirs = await listenAt('tls://127.0.0.1:0', stranger);
    await expect(connectTo(theirs.listener.address, source)).rejects.toMatchObject({
      code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO_VERIFY/) as string,
    });
    await vi.waitFor(() => {
      expect(theirs.refusals.map(({ reason, from }) => [from, reason.message])).toEqual([
        ['127.0.0.1', "the peer hung up during the TLS handshake: it may not accept this host's certificate"],
      ]);
    }, 30_000);
    const ours = await listenAt('tls://127.0.0.1:0', authority.issue('DNS:destination.example'));
    await expect(connectTo(ours.listener.address, source)).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      option: 'peerName',
    });
    const named = { ...source, peerName: 'destination.example' };
    const channel = await connectTo(ours.listener.address, named);
    await expectConnected(channel, await next(ours.connections));
  });

  /** A connection over which no handshake comes. */
  function connectSilently(listener: Listener, firstBytes = ''): Socket {
    const silent = connectNet({ port: Number(listener.address.split(':').at(-1)), host: '127.0.0.1' });
    onTestFinished(() => void silent.destroy());
    silent.on('error', () => undefined).resume();
    silent.write(firstBytes);
    return silent;
  }

  test('gives a handshake 10 s, however its bytes are spread, and takes nothing from a connection that stands', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { listener, connections, refusals } = await listenAt('tls://127.0.0.1:0', destination);
    const silent = connectSilently(listener);
    const trickling = connectSilently(listener, '\x16\x03');
    const ours = await connectTo(listener.address, source);
    const theirs = await next(connections);
    vi.advanceTimersByTime(6000);
    trickling.write('\x01');
    await expectConnected(ours, theirs);
    expect([silent.destroyed, trickling.destroyed]).toEqual([false, false]);
    vi.advanceTimersByTime(6000);
    for (const socket of [silent, trickling]) if (!socket.closed) await once(socket, 'close');
    await expectConnected(ours, theirs);
    const late = { reason: { message: 'no TLS handshake within 10000 ms' }, from: '127.0.0.1' };
    expect(refusals).toMatchObject([late, late]);
  });

  test('ends the handshakes that are under way when the listener is closed, without a word', async () => {
    const { listener, connections, refusals } = await listenAt('tls://127.0.0.1:0', destination);
    const silent = connectSilently(listener);
    const ours = await connectTo(listener.address, source);
    const theirs = await next(connections);
    listener.close();
    await once(silent, 'close');
    await expectConnected(ours, theirs);
    expect(refusals).toEqual([]);
  });

  test('lets a client in however many silent connections come at the same time', async () => {
    const { listener, connections, refusals } = await listenAt('tls://127.0.0.1:0', destination);
    let flooding = true;
    // As each is closed another takes its place.
    const flood = (): void => {
      if (flooding) connectSilently(listener).once('close', flood);
    };
    onTestFinished(() => {
      flooding = false;
    });
    for (let count = 0; count < 1000; count++) flood();
    await vi.waitUntil(() => refusals.length > 100, { timeout: 60_000 });
    const ours = await connectTo(listener.address, source);
    await expectConnected(ours, await next(connections));
    flooding = false;
    expect(new Set(refusals.map(({ reason, from }) => `${from}: ${reason.message}`))).toEqual(
      new Set(['127.0.0.1: the connection was idle, and 512 newer ones wait']),
    );
  });

  test('is told apart from a server without it', async () => {
    const plain = createServer((socket) => socket.end('KH no TLS')).listen(0, '127.0.0.1');
    onTestFinished(() => void plain.close());
    await once(plain, 'listening');
    const { port } = plain.address() as { port: number };
    await expect(connectTo(`tls://127.0.0.1:${port}`, source)).rejects.toThrow(
      'the peer does not speak TLS; its address may be a tcp:// one',
    );
  });

  test('lets in only the client named by peerName', async () => {
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

  test('needs a certificate, its key and an authority at both ends, and excludes plaintext', async () => {
    for (const missing of ['cert', 'key', 'ca'] as const) {
      const { [missing]: _left, ...rest } = source;
      const error = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE', option: missing };
      await expect(connectTo('tls://127.0.0.1:1', rest)).rejects.toMatchObject(error);
      await expect(listenAt('tls://127.0.0.1:0', rest)).rejects.toMatchObject(error);
    }
    await expect(
      connectTo('tls://127.0.0.1:1', { ...source, insecurePlaintext: true }),
    ).rejects.toMatchObject({
      option: 'insecurePlaintext',
    });
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
