import type { Duplex } from 'node:stream';
import { hasMethod, invalidTypeError } from '../../base/arguments.js';
import { channels } from '../events.js';
import { brokenConnectionError } from '../errors.js';
import { sleep } from '../../base/time.js';
import { dial } from '../../transport/dial.js';

/** What {@link sendHpt} is given: one connection, or how to make them. */
export type Channel = Duplex | (() => Promise<Duplex>);

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) for what is no {@link Channel} */
export function checkChannel(channel: unknown): void {
  if (typeof channel === 'function' || isDuplex(channel)) return;
  throw invalidTypeError('channel', 'a Duplex, or a function that makes them', channel);
}

/** Whether this can be written to and read from, as a stream of Node's is. */
export function isDuplex(value: unknown): value is Duplex {
  return hasMethod(value, 'write') && hasMethod(value, 'read') && hasMethod(value, 'on');
}

export interface DialerOptions {
  readonly migrationId: string;
  /** Longest time one attempt to connect may take. */
  readonly timeoutMs: number;
  /** Longest time to try before the peer has answered for the first time. */
  readonly waitMs: number;
  /** Longest time without a connection after that. */
  readonly reconnectMs: number;
  /** Connections beyond the first. */
  readonly maxReconnects: number;
}

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5000;

/**
 * Makes a source's connections: the first at once, the next ones with growing delays, within its limits. Until the peer has
 * answered, most failures are mistakes that last, such as a wrong address or certificate: then `waitMs` is the limit.
 */
export class Dialer {
  readonly #channel: Channel;
  readonly #options: DialerOptions;
  #connections = 0;
  #delayMs = FIRST_DELAY_MS;
  /** When there must be a connection again, on `performance`'s clock. */
  #endsAt: number;

  constructor(channel: Channel, options: DialerOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#endsAt = performance.now() + options.waitMs;
  }

  /** Connections made or tried so far. */
  get connections(): number {
    return this.#connections;
  }

  /** The connection, where one was given: it is used up whatever the end is, so that the other side is not left waiting. */
  get given(): Duplex | undefined {
    return typeof this.#channel === 'function' ? undefined : this.#channel;
  }

  /** What is left of `waitMs`, in ms. */
  get waitLeftMs(): number {
    return Math.max(0, Math.floor(this.#endsAt - performance.now()));
  }

  /** Makes connections to ask for an outcome: any number of them, with the time of an interruption to be without one. */
  forAsking(): Dialer {
    const dialer = new Dialer(this.#channel, { ...this.#options, maxReconnects: Infinity });
    dialer.heard();
    return dialer;
  }

  /** The peer is there: the next interruption has its full time again. */
  heard(): void {
    this.#endsAt = performance.now() + this.#options.reconnectMs;
    this.#delayMs = FIRST_DELAY_MS;
  }

  /** Whether the limits allow another connection. */
  get mayReconnect(): boolean {
    if (typeof this.#channel !== 'function' || this.#connections > this.#options.maxReconnects) return false;
    return performance.now() + this.#delayMs <= this.#endsAt;
  }

  /**
   * Lets some time pass after a failure.
   *
   * @param failure of the last connection, to be told to subscribers
   * @returns false if the limits allow no further connection
   * @throws the signal's reason
   */
  async backOff(failure: unknown, signal: AbortSignal | undefined): Promise<boolean> {
    if (!this.mayReconnect) return false;
    const { migrationId, maxReconnects } = this.#options;
    channels.reconnecting.publish({
      migrationId,
      attempt: this.#connections + 1,
      maxAttempts: maxReconnects === Infinity ? undefined : maxReconnects + 1,
      delayMs: this.#delayMs,
      error: failure,
    });
    await sleep(this.#delayMs, signal);
    this.#delayMs = Math.min(this.#delayMs * 2, MAX_DELAY_MS);
    return true;
  }

  /**
   * @throws HtabError `ERR_HTAB_MIGRATION`, a broken connection, with what the caller's function said
   * @throws the signal's reason
   */
  async connect(signal: AbortSignal | undefined): Promise<Duplex> {
    this.#connections++;
    if (typeof this.#channel !== 'function') return this.#channel;
    const { timeoutMs } = this.#options;
    const late = (): Error =>
      brokenConnectionError(`no connection to the destination within ${timeoutMs} ms`);
    return dial(made(this.#channel), { timeoutMs, signal, late });
  }
}

async function made(channel: () => Promise<Duplex>): Promise<Duplex> {
  try {
    return await channel();
  } catch (error) {
    throw brokenConnectionError('the destination cannot be reached', error);
  }
}
