import type { Duplex } from 'node:stream';

/** Connections of one listener that have not said who they are, or what they want. */
const MAX_IDLE_PEERS = 512;

/** A connection that waits for its peer's word. */
interface IdlePeer {
  /** Closes the connection, and reports it. */
  readonly drop: (reason: Error) => void;
  /** What it wants is known: it is being answered. */
  heard: boolean;
}

/**
 * The peers that keep a connection without having shown that they may. Their number is bounded: the next one always gets
 * in, and the oldest of those that have sent nothing at all goes, or just the oldest. So a flood of silent connections
 * does not lock out a source, which sends its first bytes at once.
 */
export class IdlePeers {
  /** Oldest first. */
  readonly #peers = new Map<Duplex, IdlePeer>();
  readonly #error: (message: string) => Error;

  /** @param error of a connection that has to go */
  constructor(error: (message: string) => Error) {
    this.#error = error;
  }

  /** @param drop called, once it has been forgotten here, if it has to go */
  add(channel: Duplex, drop: (reason: Error) => void): void {
    if (this.#peers.size >= MAX_IDLE_PEERS) this.#dropOne();
    this.#peers.set(channel, { drop, heard: false });
  }

  /** It has sent what it wants, and is being answered. */
  heard(channel: Duplex): void {
    const peer = this.#peers.get(channel);
    if (peer !== undefined) peer.heard = true;
  }

  /** @returns false if it had gone already */
  delete(channel: Duplex): boolean {
    return this.#peers.delete(channel);
  }

  /** Drops all that have not said what they want. */
  dropUnheard(reason: Error): void {
    for (const [channel, { heard }] of this.#peers) if (!heard) this.#drop(channel, reason);
  }

  get size(): number {
    return this.#peers.size;
  }

  #dropOne(): void {
    this.#drop(
      this.#leastWanted(),
      this.#error(`the connection was idle, and ${MAX_IDLE_PEERS} newer ones wait`),
    );
  }

  #leastWanted(): Duplex {
    for (const channel of this.#peers.keys()) if (isSilent(channel)) return channel;
    const [oldest] = this.#peers.keys();
    return oldest!;
  }

  #drop(channel: Duplex, reason: Error): void {
    const peer = this.#peers.get(channel);
    this.#peers.delete(channel);
    peer?.drop(reason);
  }
}

/** Whether the peer has not sent a byte. Sockets count what has come, other streams only have what is not read yet. */
function isSilent(channel: Duplex): boolean {
  const { bytesRead = channel.readableLength } = channel as { readonly bytesRead?: number };
  return bytesRead === 0;
}
