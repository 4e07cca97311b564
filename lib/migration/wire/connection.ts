import type { Duplex } from 'node:stream';
import type { HtabError } from '../../base/errors.js';
import { brokenConnectionError, isBrokenConnection } from '../errors.js';
import type { Side } from '../journal/journal.js';
import { FrameReader, type ReceivedMessage } from './frame-reader.js';
import { FrameWriter } from './frame-writer.js';
import { abortFor, lostConnectionError, peerGaveUpError, unexpectedMessageError } from './lost-connection.js';
import type { Message, MessageOf, MessageType } from './messages.js';
import { Waiters } from './waiters.js';

/** How long the peer may take to read an abort, and to close its side. */
const LINGER_MS = 1000;
/** A peer that gives only heartbeats for so many timeouts is stuck. */
const MAX_IDLE_TIMEOUTS = 20;

/**
 * Messages over a byte stream. It takes from the channel only what it is asked for, and its sends wait until the channel has
 * taken the bytes. Every wait ends: with the event, the peer's deadline, the channel's end, or the signal's reason.
 */
export class Connection {
  readonly #channel: Duplex;
  readonly #peer: Side;
  readonly #frames: FrameReader;
  readonly #writer: FrameWriter;
  #timeoutMs!: number;
  #signal: AbortSignal | undefined;
  #peerGaveUp = false;
  readonly #waiters = new Waiters();
  #wakeReceiver: (() => void) | undefined;

  /**
   * @param peer which side the peer is, for errors
   * @param timeoutMs longest time the peer may take to send, or to take, one frame
   * @param signal ends every wait with its reason
   */
  constructor(channel: Duplex, peer: Side, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#channel = channel;
    this.#peer = peer;
    this.#frames = new FrameReader(channel, () => this.#lost());
    this.#writer = new FrameWriter(channel);
    this.adopt(timeoutMs, signal);
    channel.on('readable', this.#onReadable);
    channel.on('end', this.#onReadable);
    channel.on('close', this.#onClose);
    // Stays for good: without a listener a late ECONNRESET would end the process. `close` follows and is acted upon.
    channel.on('error', () => undefined);
  }

  /** Whether the peer has said that it gives up. */
  get peerGaveUp(): boolean {
    return this.#peerGaveUp;
  }

  /** Aborts when this connection has ended, or been ended, before {@link finish}. */
  get ended(): AbortSignal {
    return this.#waiters.ended;
  }

  /**
   * Sends a message, and waits until the channel has taken it.
   *
   * @param message the bytes of `data` and `state` must not change until then
   * @returns its sequence number, as it stands in the frame
   */
  async send(message: Message): Promise<number> {
    const sequence = this.#writer.frames;
    await this.#wait(this.#timeoutMs, this.#late, (settle) => {
      this.#writer.write(message, (error) => {
        settle(error ? this.#lost(error) : undefined);
      });
    });
    return sequence % 2 ** 32;
  }

  /** The next message, if it is already here. The bytes of `data` and `state` are valid until the next call. */
  poll(): ReceivedMessage | undefined {
    for (;;) {
      const received = this.#frames.next();
      if (received === undefined) return undefined;
      const { message } = received;
      if (message.type === 'abort') {
        this.#peerGaveUp = true;
        throw peerGaveUpError(this.#peer, message);
      }
      if (message.type !== 'heartbeat') return received;
    }
  }

  /**
   * The next message; waits for it. A heartbeat gives the peer its full time again.
   *
   * @param longestMs time in which the message must have come, heartbeats or not
   */
  async receive(longestMs = this.#timeoutMs * MAX_IDLE_TIMEOUTS): Promise<ReceivedMessage> {
    // Only what `over` ends brings nothing.
    return (await this.#receiveUnless(() => false, longestMs))!;
  }

  /** The next message, which must be of this type; see {@link receive}. */
  async expect<T extends MessageType>(type: T, longestMs?: number): Promise<MessageOf<T>> {
    const { message } = await this.receive(longestMs);
    if (message.type !== type) throw unexpectedMessageError(this.#peer, message, type);
    return message as MessageOf<T>;
  }

  /**
   * Waits for work of this side, during which nothing is due from the peer.
   *
   * @throws what the work rejects with; what ends the connection, such as the peer's `abort`: the work may go on then
   */
  async during<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const settle = (): void => {
      settled = true;
      this.#wakeReceiver?.();
    };
    work.then(settle, settle);
    const received = await this.#receiveUnless(() => settled, Infinity);
    if (received !== undefined) throw unexpectedMessageError(this.#peer, received.message, 'nothing');
    return work;
  }

  /** Lets time pass; rejects if the connection ends first. */
  idle(ms: number): Promise<void> {
    return this.#wait(ms);
  }

  /** Tells the peer from time to time that this side is at work. */
  startHeartbeat(): void {
    this.#writer.startHeartbeat(this.#timeoutMs / 3);
  }

  /** Ends every wait on this connection, now and later, with this error. */
  fail(error: unknown): void {
    this.#waiters.fail(error);
  }

  /** @throws what has ended this connection, or the signal's reason, if anything has */
  throwIfEnded(): void {
    this.#waiters.throwIfFailed();
    this.#signal?.throwIfAborted();
    if (this.#channel.destroyed) throw this.#lost();
  }

  /** From here on this is its deadline, and this its signal. */
  adopt(timeoutMs: number, signal: AbortSignal | undefined): void {
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#onAbort();
  }

  /** From here on the signal ends nothing any more. */
  ignoreSignal(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#signal = undefined;
  }

  /**
   * Gives up: says why, if the peer can still hear it, and lets go of the channel. Where only the connection has failed
   * the peer is told that too: it may come back.
   */
  async abort(error: unknown, retry = isBrokenConnection(error)): Promise<void> {
    if (!this.#peerGaveUp && this.#channel.writable) this.#writer.write(abortFor(error, retry));
    await this.finish();
  }

  /** Says a last word, whether the peer takes it or not, and lets go of the channel. */
  async finishWith(message: Message): Promise<void> {
    if (this.#channel.writable) this.#writer.write(message);
    await this.finish();
  }

  /**
   * Ends this side, waits a moment until the peer has ended its own, and destroys the channel. Closing a TCP socket
   * while unread bytes stand in it would reset the connection, and could take our last words with it.
   */
  async finish(): Promise<void> {
    this.ignoreSignal();
    this.#waiters.forgive();
    this.#writer.stopHeartbeat();
    this.#channel.off('readable', this.#onReadable);
    this.#channel.off('end', this.#onReadable);
    this.#channel.resume();
    if (!this.#channel.destroyed) {
      this.#channel.end();
      await this.#wait(LINGER_MS).catch(() => undefined);
    }
    this.#channel.off('close', this.#onClose);
    this.#channel.destroy();
  }

  /** Lets go of the channel without another word. */
  drop(): void {
    this.ignoreSignal();
    this.#writer.stopHeartbeat();
    this.#channel.destroy();
  }

  readonly #onReadable = (): void => {
    this.#wakeReceiver?.();
  };

  readonly #onAbort = (): void => {
    this.fail(this.#signal?.reason);
  };

  readonly #onClose = (): void => {
    this.#waiters.end(this.#lost());
  };

  /** The next message; undefined once there is nothing to wait for any more. */
  async #receiveUnless(over: () => boolean, longestMs: number): Promise<ReceivedMessage | undefined> {
    let { frames } = this.#frames;
    let deadline = performance.now() + this.#timeoutMs;
    const lastDeadline = performance.now() + longestMs;
    for (;;) {
      if (over()) return undefined;
      const received = this.poll();
      if (received !== undefined) return received;
      if (this.#frames.frames !== frames) {
        ({ frames } = this.#frames);
        deadline = Math.min(performance.now() + this.#timeoutMs, lastDeadline);
      }
      await this.#wait(deadline - performance.now(), this.#late, (settle) => {
        if (this.#channel.readableEnded) settle(this.#lost());
        else this.#wakeReceiver = settle;
      });
    }
  }

  #lost(cause: unknown = this.#channel.errored ?? undefined): HtabError {
    return lostConnectionError(this.#peer, cause, this.#frames.frames > 0);
  }

  readonly #late = (): HtabError =>
    brokenConnectionError(`no data from the ${this.#peer} for ${this.#timeoutMs} ms`);

  #wait(
    timeoutMs: number,
    expired: () => HtabError | undefined = () => undefined,
    start?: (settle: (error?: unknown) => void) => void,
  ): Promise<void> {
    return this.#waiters.wait(timeoutMs, expired, (settle) => {
      if (this.#signal?.aborted === true) settle(this.#signal.reason);
      else if (this.#channel.destroyed) settle(this.#lost());
      else start?.(settle);
    });
  }
}
