import { FRAME_HEADER_BYTES } from '../../../lib/frames/frame.js';
import type { MessageType } from '../../../lib/migration/wire/messages.js';
import { decodeHeader } from '../../../lib/migration/wire/protocol.js';
import type { Journal } from '../../../lib/migration/journal/journal.js';
import type { Wire } from './linked-streams.js';
import type { Wires } from './network.js';

/**
 * Holds a destination to what makes its `abort` final (states.ts): over the connection on which it has said that it is
 * prepared it says `abort` or decides `committed`, never both.
 */
export class AbortRule {
  readonly violations: string[] = [];
  #prepared: { readonly connection: number; aborted: boolean } | undefined;
  #committed = false;

  /** The same wires; what the destination says is read before anything happens to it. */
  watch(connection: number, { fromSource, fromDestination }: Wires): Wires {
    const wire: Wire = fromDestination ?? ((bytes) => ({ bytes }));
    const see = this.#reader(connection);
    return {
      ...(fromSource !== undefined && { fromSource }),
      fromDestination: (chunk, offset) => {
        see(chunk);
        return wire(chunk, offset);
      },
    };
  }

  /** The destination's journal. */
  journal(journal: Journal): Journal {
    return new Proxy(journal, {
      get: (of, name) => {
        if (name === 'decide') return (...args: Parameters<Journal['decide']>) => this.#decide(of, args);
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === 'function' ? (value as (...args: never[]) => unknown).bind(of) : value;
      },
    });
  }

  async #decide(journal: Journal, args: Parameters<Journal['decide']>): ReturnType<Journal['decide']> {
    const commits = args[2] === 'committed';
    if (commits && this.#prepared?.aborted !== false) this.#violated('decides to commit after its abort');
    const decision = await journal.decide(...args);
    if (commits && decision === 'committed') this.#committed = true;
    return decision;
  }

  #said(connection: number, type: MessageType): void {
    if (type === 'prepared') this.#prepared = { connection, aborted: false };
    if (type !== 'abort' || this.#prepared?.connection !== connection) return;
    this.#prepared.aborted = true;
    if (this.#committed) this.#violated('says abort after it has committed');
  }

  #violated(what: string): void {
    this.violations.push(`the destination ${what}`);
  }

  #reader(connection: number): (chunk: Buffer) => void {
    let rest = Buffer.alloc(0);
    return (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= FRAME_HEADER_BYTES) {
        const { type, length } = decodeHeader(rest.subarray(0, FRAME_HEADER_BYTES));
        if (rest.length < FRAME_HEADER_BYTES + length) return;
        rest = rest.subarray(FRAME_HEADER_BYTES + length);
        this.#said(connection, type);
      }
    };
  }
}
