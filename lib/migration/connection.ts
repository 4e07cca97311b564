import type { Duplex } from 'node:stream';
import { HtabError } from '../errors.js';
import { FRAME_HEADER_BYTES } from '../framing/frame.js';
import { brokenConnection, isBrokenConnection, migrationError, peerText, verifyError } from './failure.js';
import {
  decodeHeader,
  decodePayload,
  encodeFrame,
  type Abort,
  type FrameHeader,
  type Message,
  type MessageOf,
  type MessageType,
} from './protocol.js';

/** How long the peer may take to read an abort, and to close its side. */
const LINGER_MS = 1000;
/** A peer that gives only heartbeats for so many timeouts is stuck. */
const MAX_IDLE_TIMEOUTS = 20;
/** Longest reason sent with an abort, in characters: even fully escaped it fits a frame. */
const MAX_REASON = 500;

/** Of a channel that was not connected yet when it was given. */
const CONNECT_CALLS = ['connect', 'getaddrinfo'];
/** A peer that refuses a certificate, or bytes that are none of its protocol, does not say so to the other side. */
const SILENT_PEER =
  "before the peer had said anything: it may not accept this host's certificate, or expect TLS, or plaintext; " +
  'look at what it printed';

/** A message and its frame's number. */
export interface Received {
  readonly message: Message;
  readonly sequence: number;
}

/**
 * Messages over a byte stream. It takes from the channel only what it is asked for, so that at most one frame of the
 * peer's stands in memory, and its sends wait until the channel has taken the bytes.
 *
 * Every wait ends: with the event, with the peer's deadline, with the channel's end, or with the signal's reason.
 */
export class Connection {
  readonly #channel: Duplex;
  readonly #timeoutMs: number;
  #signal: AbortSignal | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #sent = 0;
  #received = 0;
  /** Header of the frame whose payload is not there yet. */
  #header: FrameHeader | undefined;
  /** Where payloads are put together: what a socket gives is garbage in small pieces then, and never much of it. */
  #payload = Buffer.alloc(0);
  /** Bytes of the payload that are there. */
  #filled = 0;
  #peerGaveUp = false;
  /** Why this connection is of no use any more. */
  #failure: { readonly error: unknown } | undefined;
  /** Whoever waits for something; called with an error it gives up. */
  readonly #waiters = new Set<(error: unknown) => void>();
  #wakeReceiver: (() => void) | undefined;

  /**
   * @param timeoutMs longest time the peer may take to send, or to take, one frame
   * @param signal ends every wait with its reason
   */
  constructor(channel: Duplex, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#channel = channel;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
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

  /**
   * Sends a message, and waits until the channel has taken it.
   *
   * @param message the records of `data` are the channel's from here on
   * @returns its sequence number, as it stands in the frame
   */
  async send(message: Message): Promise<number> {
    const sequence = this.#sent;
    await this.#wait(this.#timeoutMs, this.#late, (settle) => {
      this.#write(message, (error) => {
        settle(error ? this.#lost(error) : undefined);
      });
    });
    return sequence % 2 ** 32;
  }

  /** The next message, if it is already here. The records of `data` are valid until the next call. */
  poll(): Received | undefined {
    for (;;) {
      if (this.#header === undefined) {
        const bytes = this.#take(FRAME_HEADER_BYTES);
        if (bytes === undefined) return undefined;
        this.#header = decodeHeader(bytes);
      }
      const header = this.#header;
      const payload = this.#takePayload(header.length);
      if (payload === undefined) return undefined;
      this.#header = undefined;
      const message = decodePayload(header, payload, this.#received++);
      if (message.type === 'abort') throw this.#givenUp(message);
      if (message.type !== 'heartbeat') return { message, sequence: header.sequence };
    }
  }

  /**
   * The next message; waits for it. A heartbeat gives the peer its full time again.
   *
   * @param longestMs time in which the message must have come, heartbeats or not
   */
  async receive(longestMs = this.#timeoutMs * MAX_IDLE_TIMEOUTS): Promise<Received> {
    let frames = this.#received;
    let deadline = performance.now() + this.#timeoutMs;
    const lastDeadline = performance.now() + longestMs;
    for (;;) {
      const received = this.poll();
      if (received !== undefined) return received;
      if (this.#received !== frames) {
        frames = this.#received;
        deadline = Math.min(performance.now() + this.#timeoutMs, lastDeadline);
      }
      await this.#wait(deadline - performance.now(), this.#late, (settle) => {
        if (this.#channel.readableEnded) settle(this.#lost());
        else this.#wakeReceiver = settle;
      });
    }
  }

  /** The next message, which must be of this type; see {@link receive}. */
  async expect<T extends MessageType>(type: T, longestMs?: number): Promise<MessageOf<T>> {
    const { message } = await this.receive(longestMs);
    if (message.type !== type) throw unexpected(message, type);
    return message as MessageOf<T>;
  }

  /** Lets time pass; rejects if the connection ends first. */
  idle(ms: number): Promise<void> {
    return this.#wait(ms);
  }

  /** Tells the peer from time to time that this side is at work. */
  startHeartbeat(): void {
    this.#heartbeat ??= setInterval(() => {
      // What waits in the channel is a sign of life itself, or the peer does not read.
      if (this.#channel.writable && this.#channel.writableLength === 0) this.#write({ type: 'heartbeat' });
    }, this.#timeoutMs / 3).unref();
  }

  /** Ends every wait on this connection, now and later, with this error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    for (const giveUp of [...this.#waiters]) giveUp(error);
  }

  /** @throws what has ended this connection, or the signal's reason, if anything has */
  throwIfEnded(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#signal?.throwIfAborted();
    if (this.#channel.destroyed) throw this.#lost();
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
    if (!this.#peerGaveUp && this.#channel.writable) {
      const code = error instanceof HtabError ? error.code : 'ERR_HTAB_MIGRATION';
      const reason = (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON);
      this.#write({ type: 'abort', code, reason, retry });
    }
    await this.finish();
  }

  /** Says a last word, whether the peer takes it or not, and lets go of the channel. */
  async finishWith(message: Message): Promise<void> {
    if (this.#channel.writable) this.#write(message);
    await this.finish();
  }

  /**
   * Ends this side, waits a moment until the peer has ended its own, and destroys the channel. Closing a TCP socket
   * while unread bytes stand in it would reset the connection, and could take our last words with it.
   */
  async finish(): Promise<void> {
    this.ignoreSignal();
    this.#failure = undefined;
    clearInterval(this.#heartbeat);
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
    clearInterval(this.#heartbeat);
    this.#channel.destroy();
  }

  readonly #onReadable = (): void => {
    this.#wakeReceiver?.();
  };

  readonly #onAbort = (): void => {
    this.fail(this.#signal?.reason);
  };

  readonly #onClose = (): void => {
    for (const giveUp of [...this.#waiters]) giveUp(this.#lost());
  };

  #write(message: Message, written?: (error: Error | null | undefined) => void): void {
    const { header, payload } = encodeFrame(message, this.#sent++);
    this.#channel.cork();
    this.#channel.write(header);
    this.#channel.write(payload, written);
    this.#channel.uncork();
  }

  /** `length` bytes, bounded by now, in memory that is used again; undefined as long as they are not all there. */
  #takePayload(length: number): Buffer | undefined {
    if (this.#payload.length < length) this.#payload = Buffer.alloc(length);
    while (this.#filled < length) {
      const available = Math.min(length - this.#filled, this.#channel.readableLength);
      // Asked for what is there already, the channel would not go on reading.
      const bytes = this.#take(Math.max(1, available));
      if (bytes === undefined) return undefined;
      bytes.copy(this.#payload, this.#filled);
      this.#filled += bytes.length;
    }
    this.#filled = 0;
    return this.#payload.subarray(0, length);
  }

  /** `length` bytes from the channel, if that many are there. */
  #take(length: number): Buffer | undefined {
    const bytes = this.#channel.read(length) as Buffer | null;
    if (bytes === null) return undefined;
    if (bytes.length < length) throw this.#lost();
    return bytes;
  }

  #givenUp({ code, reason, retry }: Abort): HtabError {
    this.#peerGaveUp = true;
    const said = `the peer gave up: ${peerText(reason)}`;
    if (retry) return brokenConnection(said);
    return code === 'ERR_HTAB_VERIFY' ? verifyError(said) : migrationError(said);
  }

  #lost(cause: unknown = this.#channel.errored ?? undefined): HtabError {
    if (this.#received > 0) {
      return brokenConnection('the connection ended in the middle of the migration', cause);
    }
    const { syscall = '', message } = (cause ?? {}) as Partial<NodeJS.ErrnoException>;
    if (CONNECT_CALLS.includes(syscall)) return brokenConnection(`the connection failed: ${message}`, cause);
    const why = message === undefined ? '' : ` (${message})`;
    return brokenConnection(`the connection ended${why} ${SILENT_PEER}`, cause);
  }

  readonly #late = (): HtabError => brokenConnection(`the peer stood still for ${this.#timeoutMs} ms`);

  /**
   * Waits for `start` to call what it is given, or for the time to pass.
   *
   * @param expired what the time's passing means; nothing: the wait is over
   */
  #wait(
    timeoutMs: number,
    expired: () => HtabError | undefined = () => undefined,
    start?: (settle: (error?: unknown) => void) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => {
        clearTimeout(timer);
        this.#waiters.delete(settle);
        if (error === undefined) resolve();
        // A signal's reason is the caller's own and passed on as it is, error or not.
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
        else reject(error);
      };
      const timer = setTimeout(
        () => {
          settle(expired());
        },
        Math.max(0, timeoutMs),
      );
      this.#waiters.add(settle);
      if (this.#failure !== undefined) settle(this.#failure.error);
      else if (this.#signal?.aborted === true) settle(this.#signal.reason);
      else if (this.#channel.destroyed) settle(this.#lost());
      else start?.(settle);
    });
  }
}

/** A peer that says something else than it must. */
export function unexpected(message: Message, due: string): HtabError {
  return migrationError(`the peer sent ${message.type} where ${due} was due`);
}
