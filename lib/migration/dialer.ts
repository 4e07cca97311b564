import type { Duplex } from 'node:stream';
import { hasMethod, invalidType } from '../arguments.js';
import { brokenConnection } from './failure.js';
import { pause, within } from '../node/waiting.js';

/** What {@link sendHpt} is given: one connection, or how to make them. */
export type Channel = Duplex | (() => Promise<Duplex>);

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) for what is no {@link Channel} */
export function checkChannel(channel: unknown): void {
  if (typeof channel === 'function' || isDuplex(channel)) return;
  throw invalidType('channel', 'a Duplex, or a function that makes them', channel);
}

/** Whether this can be written to and read from, as a stream of Node's is. */
export function isDuplex(value: unknown): value is Duplex {
  return hasMethod(value, 'write') && hasMethod(value, 'read') && hasMethod(value, 'on');
}

export interface DialerOptions {
  /** Longest time one attempt to connect may take. */
  readonly timeoutMs: number;
  /** Longest time without a connection. */
  readonly reconnectMs: number;
  /** Connections beyond the first. */
  readonly maxReconnects: number;
}

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5000;

/** Makes a source's connections: the first at once, the next ones with growing delays, within its limits. */
export class Dialer {
  readonly #channel: Channel;
  readonly #options: DialerOptions;
  #connections = 0;
  #delayMs = FIRST_DELAY_MS;
  /** When the peer was last heard, on `performance`'s clock. */
  #heardAt = performance.now();

  constructor(channel: Channel, options: DialerOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  /** Connections made or tried so far. */
  get connections(): number {
    return this.#connections;
  }

  /** Makes connections to ask for an outcome: any number of them, with the same time to be without one. */
  forAsking(): Dialer {
    return new Dialer(this.#channel, { ...this.#options, maxReconnects: Infinity });
  }

  /** The peer is there: the next interruption has its full time again. */
  heard(): void {
    this.#heardAt = performance.now();
    this.#delayMs = FIRST_DELAY_MS;
  }

  /**
   * Lets some time pass after a failure.
   *
   * @returns false if the limits allow no further connection
   * @throws the signal's reason
   */
  async backOff(signal: AbortSignal | undefined): Promise<boolean> {
    const { reconnectMs, maxReconnects } = this.#options;
    if (typeof this.#channel !== 'function' || this.#connections > maxReconnects) return false;
    if (performance.now() - this.#heardAt + this.#delayMs > reconnectMs) return false;
    await pause(this.#delayMs, signal);
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
    const connecting = dial(this.#channel);
    const late = (): Error => brokenConnection(`the destination was not reached within ${timeoutMs} ms`);
    try {
      return await within(connecting, timeoutMs, signal, late);
    } catch (error) {
      // It may still come: then nobody wants it any more.
      connecting.then(
        (channel) => channel.destroy(),
        () => undefined,
      );
      throw error;
    }
  }
}

async function dial(channel: () => Promise<Duplex>): Promise<Duplex> {
  try {
    return await channel();
  } catch (error) {
    throw brokenConnection('the destination cannot be reached', error);
  }
}
