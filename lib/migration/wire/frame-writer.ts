import type * as Net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Message } from './messages.js';
import { encodeFrame } from './protocol.js';

/** Writes messages to a channel, in their order, and heartbeats between them. */
export class FrameWriter {
  readonly #channel: Duplex;
  readonly #isSocket: boolean;
  #frames = 0;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(channel: Duplex) {
    this.#channel = channel;
    this.#isSocket = isSocket(channel);
  }

  /** Frames written so far: the number of the next one. */
  get frames(): number {
    return this.#frames;
  }

  /** @param written called once the channel has taken it, or failed to: the message's bytes are the caller's again */
  write(message: Message, written?: (error: Error | null | undefined) => void): void {
    const { header, payload } = encodeFrame(message, this.#frames++);
    this.#channel.cork();
    this.#channel.write(header);
    // A socket has given them to the kernel by then; any other channel may hold on to what it was given.
    this.#channel.write(this.#isSocket ? payload : new Uint8Array(payload), written);
    this.#channel.uncork();
  }

  /** Tells the peer from time to time that this side is at work. */
  startHeartbeat(everyMs: number): void {
    this.#heartbeat ??= setInterval(() => {
      // What waits in the channel is a sign of life itself, or the peer does not read.
      if (this.#channel.writable && this.#channel.writableLength === 0) this.write({ type: 'heartbeat' });
    }, everyMs).unref();
  }

  stopHeartbeat(): void {
    clearInterval(this.#heartbeat);
  }
}

/** Asks for node:net without an import: a program that imports kvm-htab may never need it. Node 22.0 to 22.2 cannot be asked. */
function isSocket(channel: Duplex): boolean {
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  const net = getBuiltinModule?.('node:net') as typeof Net | undefined;
  return net !== undefined && channel instanceof net.Socket;
}
