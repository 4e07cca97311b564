import { EventEmitter, on } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { IdlePeers } from './idle-peers.js';

/** Longest time of a TLS handshake, however the peer spreads its bytes. */
const HANDSHAKE_MS = 10_000;

/** Told why a connection was closed before it was served; `from` is the peer's IP address, where it has one. */
export type OnRefused = (reason: unknown, from: string | undefined) => void;

/**
 * Connections accepted and not asked for yet, those in their TLS handshake included: bounded in number, with the idlest
 * giving way, and reported when they go.
 */
export class Arrivals {
  readonly #onRefused: OnRefused;
  readonly #events = new EventEmitter();
  readonly #queue = on(this.#events, 'admitted', { close: ['close'] });
  readonly #idle = new IdlePeers((message) => new Error(message));
  readonly #handshakes = new Map<Socket, NodeJS.Timeout>();
  /** A socket that has been closed does not tell its address any more. */
  readonly #from = new WeakMap<Socket, string | undefined>();
  readonly #refused = new WeakSet<Socket>();
  #closed = false;

  constructor(onRefused: OnRefused) {
    this.#onRefused = onRefused;
  }

  /** A TCP or Unix connection has been accepted. */
  add(socket: Socket): void {
    this.#from.set(socket, socket.remoteAddress);
    // Until it is taken it has no listener: without this its failure would end the process.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#endHandshake(socket);
      this.#idle.delete(socket);
    });
    this.#idle.add(socket, (reason) => {
      this.refuse(reason, socket);
    });
  }

  /** It must speak TLS before it is admitted. */
  awaitHandshake(socket: Socket): void {
    const late = setTimeout(() => {
      this.refuse(new Error(`no TLS handshake within ${HANDSHAKE_MS} ms`), socket);
    }, HANDSHAKE_MS);
    this.#handshakes.set(socket, late);
  }

  /** Gives a connection to who asks for the next one. */
  admit(socket: Socket, channel: Socket = socket): void {
    this.#endHandshake(socket);
    channel.on('error', () => undefined);
    this.#events.emit('admitted', channel, socket);
  }

  /** Closes a connection, and reports it, once. */
  refuse(reason: Error, socket: Socket): void {
    this.#endHandshake(socket);
    this.#idle.delete(socket);
    if (!this.#closed && !this.#refused.has(socket)) this.#onRefused(reason, this.#from.get(socket));
    this.#refused.add(socket);
    socket.destroy();
  }

  async *take(): AsyncGenerator<Duplex, void, undefined> {
    for await (const [channel, socket] of this.#queue as AsyncIterable<[Socket, Socket]>) {
      // One that its peer has given up meanwhile is not handed out.
      if (this.#idle.delete(socket)) yield channel;
    }
  }

  /** Closes all that have not been taken. */
  close(): void {
    this.#closed = true;
    this.#idle.dropUnheard(new Error('the listener was closed'));
    this.#events.emit('close');
  }

  #endHandshake(socket: Socket): void {
    clearTimeout(this.#handshakes.get(socket));
    this.#handshakes.delete(socket);
  }
}

/**
 * The connection that a server's TLS connection goes over. Node.js has no public name for it, and of one that has hung up
 * not even the address.
 */
export function underlying(channel: TLSSocket): Socket {
  return (channel as unknown as { readonly _parent: Socket })._parent;
}
