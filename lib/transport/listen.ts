import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { lstat, unlink } from 'node:fs/promises';
import {
  connect,
  createServer as createNetServer,
  type ListenOptions,
  type Server,
  type Socket,
} from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { systemCall } from '../base/system-call.js';
import { inheritedSocket } from './activation.js';
import { formatAddress, type Address } from './address.js';
import { Arrivals, underlying, type OnRefused } from './arrivals.js';
import { plainError } from './plain-error.js';
import { checkPeerName, checkPlaintext, type Security } from './security.js';

/** Of a peer for which node:tls only says "socket hang up". */
const HANG_UP = "the peer hung up during the TLS handshake: it may not accept this host's certificate";
const USE_TLS = 'a peer has to connect to a tls:// address';
/** Only this user may connect to a Unix socket of ours. */
const OWNER_ONLY_UMASK = 0o177;

/** A listening socket, and the connections accepted at it, one after the other until it is closed. */
export interface Listener extends AsyncIterable<Duplex>, Disposable {
  /** Where it listens, in the form that {@link connect} takes, with the port that the kernel has chosen. */
  readonly address: string;
  /**
   * Accepts no more connections, and closes those that no receiver has taken. A Unix socket is removed. Receivers that
   * still wait for a connection of this listener reject.
   */
  close(): void;
}

/**
 * Listens. With TLS, only peers with a valid certificate come through.
 *
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`) for plaintext that would come from another machine
 * @throws HtabSystemError for what the kernel refuses
 * @throws Error of node:dns or node:tls
 */
export async function listenAt(
  address: Address,
  security: Security,
  onRefused: OnRefused,
): Promise<Listener> {
  const arrivals = new Arrivals(onRefused);
  const server = createServer(security, arrivals);
  const operation = `listen at ${formatAddress(address)}`;
  try {
    await systemCall(operation, bind(server, address, security));
  } catch (error) {
    server.close();
    throw plainError(error, USE_TLS, operation);
  }
  // A failed accept (too many open files, say) costs one connection.
  server.on('error', (error) => {
    onRefused(error, undefined);
  });
  const close = (): void => {
    server.close();
    arrivals.close();
  };
  return {
    address: describe(server, security),
    [Symbol.asyncIterator]: () => arrivals.take(),
    close,
    [Symbol.dispose]: close,
  };
}

function createServer({ identity, peerName }: Security, arrivals: Arrivals): Server {
  const options = { noDelay: true, keepAlive: true };
  if (identity === undefined) {
    return createNetServer(options, (socket) => {
      arrivals.add(socket);
      arrivals.admit(socket);
    });
  }
  const admit = (channel: TLSSocket): void => {
    const socket = underlying(channel);
    try {
      checkPeerName(peerName, channel);
      arrivals.admit(socket, channel);
    } catch (error) {
      arrivals.refuse(error as Error, socket);
    }
  };
  const server = createTlsServer({ ...options, ...identity, requestCert: true }, admit);
  server.on('connection', (socket: Socket) => {
    arrivals.add(socket);
    arrivals.awaitHandshake(socket);
  });
  return server.on('tlsClientError', (error: Error, channel: TLSSocket) => {
    arrivals.refuse(handshakeError(error, channel), underlying(channel));
  });
}

function handshakeError(error: Error, channel: TLSSocket): Error {
  // node:tls says only here what is wrong with a certificate that is not valid.
  const flaw = channel.authorizationError as Error | string | null | undefined;
  if (flaw) return new Error(`the peer's certificate is not valid: ${String(flaw)}`);
  if (error.message === 'socket hang up') return new Error(HANG_UP);
  return plainError(error, USE_TLS) as Error;
}

async function bind(server: Server, address: Address, security: Security): Promise<void> {
  if (address.kind === 'systemd') {
    await start(server, { fd: inheritedSocket() });
    // Nothing is accepted before the event loop's next turn, so this is in time.
    const bound = server.address();
    if (typeof bound === 'object' && bound !== null) checkPlaintext(bound.address, security);
  } else if (address.kind === 'unix') {
    await startUnix(server, address.path);
  } else {
    // What is checked is what is listened at: a name is resolved once.
    const { address: host } = await lookup(address.host);
    checkPlaintext(host, security);
    await start(server, { host, port: address.port });
  }
}

/** Listens at a path, also where a process that was killed has left its socket. */
async function startUnix(server: Server, path: string): Promise<void> {
  const umask = process.umask(OWNER_ONLY_UMASK);
  try {
    const started = start(server, { path });
    // libuv binds at once; nothing else may run under this mask.
    process.umask(umask);
    await started;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !(await isAbandoned(path))) throw error;
    await unlink(path);
    await startUnix(server, path);
  } finally {
    process.umask(umask);
  }
}

async function start(server: Server, options: ListenOptions | { readonly fd: number }): Promise<void> {
  const listening = once(server, 'listening');
  server.listen(options);
  await listening;
}

/** Whether this is a socket at which no process listens any more. */
async function isAbandoned(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false;
  const socket = connect({ path });
  try {
    await once(socket, 'connect');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}

function describe(server: Server, { identity }: Security): string {
  const bound = server.address();
  // The path of an inherited Unix socket is not always known.
  if (typeof bound === 'string' || bound === null) return formatAddress({ kind: 'unix', path: bound ?? '?' });
  return formatAddress({
    kind: identity === undefined ? 'tcp' : 'tls',
    host: bound.address,
    port: bound.port,
  });
}
