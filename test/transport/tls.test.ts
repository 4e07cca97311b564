import { once } from 'node:events';
import { connect as connectNet, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Listener } from '../../lib/transport/listen.js';
import { scratchFiles } from '../scratch.js';
import { Authority, noCertificates, type HostFiles } from './certificates.js';
import { listenAt, connectTo, expectConnected, next } from './connections.js';

const temporary = scratchFiles();

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
