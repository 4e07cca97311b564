import { lookup } from 'node:dns/promises';
import { EventEmitter, on, once } from 'node:events';
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
import { systemCall, type Hints } from '../../node/system-call.js';
import { about } from '../about.js';
import { inheritedSocket } from './activation.js';
import { formatAddress, type Address } from './address.js';
import { checkPeerName, checkPlaintext, inWords, type Security } from './security.js';

/** Connections at once, also those still in their handshake. */
const MAX_CONNECTIONS = 64;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** What node:tls calls a socket hang up. */
const HANG_UP = "it hung up in the TLS handshake: it may not accept this host's certificate";
/** Only this user may connect to a Unix socket of ours. */
const OWNER_ONLY_UMASK = 0o177;

/** Of a socket that a process is to listen at. */
export const LISTEN_HINTS: Hints = {
  EADDRINUSE: 'another process listens there',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'this user may not listen there',
};

const UNIX_HINTS: Hints = {
  EADDRINUSE: 'another process listens there, or another file has this path',
  EACCES: 'this user may not listen there, or the folder does not exist',
};

/** Something that listens; gives the connections one after the other, until it is closed. */
export interface Listener extends AsyncIterable<Duplex> {
  /** Where it listens, as `parseAddress` takes it, with the port that the kernel has chosen. */
  readonly address: string;
  /** Takes no more connections, and drops those that nobody has asked for. */
  close(): void;
}

/** Told of a peer that was not let in; `from` is its IP address, where node:net still knows it. */
export type RefusalReporter = (reason: Error, from: string | undefined) => void;

/**
 * Listens. With TLS, only peers with a right certificate come through.
 *
 * @throws UsageError for plaintext that would come from beyond this machine
 * @throws HtabSystemError for what the kernel refuses
 * @throws Error of node:dns or node:tls
 */
export async function listen(
  address: Address,
  security: Security,
  onRefused: RefusalReporter,
): Promise<Listener> {
  const queue = new ConnectionQueue();
  const server = createServer(security, queue, onRefused);
  server.maxConnections = MAX_CONNECTIONS;
  const operation = `listen at ${formatAddress(address)}`;
  try {
    const hints = address.kind === 'unix' ? UNIX_HINTS : LISTEN_HINTS;
    await about(operation, systemCall(operation, bind(server, address, security), hints));
  } catch (error) {
    server.close();
    throw error;
  }
  // A failed accept (too many open files, say) costs one connection.
  server.on('error', (error) => {
    onRefused(error, undefined);
  });
  return {
    address: describe(server, security),
    [Symbol.asyncIterator]: () => queue.take(),
    close: () => {
      server.close();
      queue.close();
    },
  };
}

function createServer(
  { identity, peerName }: Security,
  queue: ConnectionQueue,
  onRefused: RefusalReporter,
): Server {
  const options = { noDelay: true, keepAlive: true };
  if (identity === undefined) {
    return createNetServer(options, (socket) => {
      queue.add(socket);
    });
  }
  const tls = { ...options, ...identity, requestCert: true, handshakeTimeout: HANDSHAKE_TIMEOUT_MS };
  const admit = (socket: TLSSocket): void => {
    try {
      checkPeerName(peerName, socket);
      queue.add(socket);
    } catch (error) {
      onRefused(error as Error, socket.remoteAddress);
      socket.destroy();
    }
  };
  return createTlsServer(tls, admit).on('tlsClientError', (error: Error, socket: TLSSocket) => {
    // Of a certificate that does not hold, node:tls says only in passing what is wrong with it.
    const flaw = socket.authorizationError as Error | string | null | undefined;
    if (flaw) error.message = `its certificate does not hold: ${String(flaw)}`;
    else if (error.message === 'socket hang up') error.message = HANG_UP;
    onRefused(inWords(error, 'a send to here needs tls://'), socket.remoteAddress);
  });
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

/** Whether this is a socket, and nobody listens at it any more. */
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

/** Connections accepted and not asked for yet. */
class ConnectionQueue {
  readonly #events = new EventEmitter();
  readonly #arrivals = on(this.#events, 'connection', { close: ['close'] });
  readonly #waiting = new Set<Socket>();

  add(socket: Socket): void {
    // Until somebody takes the connection nobody listens: without this its failure would end the process.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#waiting.delete(socket));
    this.#waiting.add(socket);
    this.#events.emit('connection', socket);
  }

  async *take(): AsyncGenerator<Duplex, void, undefined> {
    for await (const [socket] of this.#arrivals as AsyncIterable<[Socket]>) {
      // One that its peer has given up meanwhile is nobody's.
      if (this.#waiting.delete(socket)) yield socket;
    }
  }

  close(): void {
    for (const socket of this.#waiting) socket.destroy();
    this.#events.emit('close');
  }
}
