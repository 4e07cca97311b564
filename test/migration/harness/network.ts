import type { Duplex } from 'node:stream';
import { linkStreams, type Wire } from './linked-streams.js';

/** What becomes of the bytes of one connection. */
export interface Wires {
  readonly fromSource?: Wire;
  readonly fromDestination?: Wire;
}

/** A listener, and a way to connect to it; each connection may have its own fate. */
export class Network implements AsyncIterable<Duplex> {
  /** False: whoever connects is refused. */
  listening = true;
  readonly channels: Duplex[] = [];
  readonly #wires: (number: number) => Wires;
  readonly #waiting: ((result: IteratorResult<Duplex, undefined>) => void)[] = [];
  readonly #arrived: Duplex[] = [];
  #connections = 0;
  #closed = false;

  /** @param wires of the connections, numbered from 1 */
  constructor(wires: (number: number) => Wires = () => ({})) {
    this.#wires = wires;
  }

  get connections(): number {
    return this.#connections;
  }

  readonly connect = (): Promise<Duplex> => {
    const number = ++this.#connections;
    if (!this.listening || this.#closed) {
      return Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
    }
    const { fromSource, fromDestination } = this.#wires(number);
    const [ours, theirs] = linkStreams(fromSource, fromDestination);
    this.channels.push(ours, theirs);
    const taker = this.#waiting.shift();
    if (taker === undefined) this.#arrived.push(theirs);
    else taker({ done: false, value: theirs });
    return Promise.resolve(ours);
  };

  /** Ends the listener. */
  close(): void {
    this.#closed = true;
    for (const taker of this.#waiting.splice(0)) taker({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): AsyncIterator<Duplex, undefined> {
    return {
      next: () => {
        const value = this.#arrived.shift();
        if (value !== undefined) return Promise.resolve({ done: false, value });
        if (this.#closed) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve) => this.#waiting.push(resolve));
      },
    };
  }
}
