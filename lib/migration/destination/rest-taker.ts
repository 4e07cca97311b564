import { bothErrors } from '../../base/both-errors.js';
import { HtabError } from '../../base/errors.js';
import { within } from '../../base/time.js';
import { migrationError } from '../errors.js';
import type { DestinationRest } from '../rest.js';
import { callRest, restSettled } from '../rest-calls.js';
import type { Connection } from '../wire/connection.js';

/** All of a guest but its table, over as many connections as its migration needs. */
export class RestTaker {
  readonly #rest: DestinationRest;
  readonly #timeoutMs: number;
  #discarded = false;

  /** @param timeoutMs longest time for `discard`, for `run`, and for an `accept` whose signal has aborted */
  constructor(rest: DestinationRest, timeoutMs: number) {
    this.#rest = rest;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Has the agent put the guest together. What ends the connection meanwhile ends this too: the call's signal aborts, and
   * the call may go on.
   *
   * @throws HtabStateError `busy` if an earlier call goes on, and does not end in time
   */
  async accept(state: Uint8Array, connection: Connection, migrationId: string): Promise<void> {
    await connection.during(restSettled(this.#rest, 'accept', this.#timeoutMs));
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, connection.ended]);
    const accepting = callRest(this.#rest, 'accept', () => this.#rest.accept(state, { signal, migrationId }));
    try {
      await connection.during(accepting);
    } catch (error) {
      over.abort(error);
      throw error;
    }
  }

  /**
   * Has the agent throw the guest away, once; an `accept` that goes on has its time to end before.
   *
   * @param error why
   * @returns the error to report
   */
  async discard(error: unknown): Promise<unknown> {
    if (this.#discarded) return error;
    this.#discarded = true;
    const ms = this.#timeoutMs;
    await restSettled(this.#rest, 'accept', ms).catch(() => undefined);
    try {
      const discarding = callRest(this.#rest, 'discard', () => this.#rest.discard(error));
      await within(discarding, ms, undefined, () => lateError('discard', ms));
      return error;
    } catch (failure) {
      return migrationError(
        'the migration failed, and the rest of the guest could not be discarded; do not run the target',
        bothErrors(error, failure),
      );
    }
  }

  /** Lets the guest run, which is here. */
  async run(): Promise<void> {
    const ms = this.#timeoutMs;
    try {
      const running = callRest(this.#rest, 'run', () => this.#rest.run());
      await within(running, ms, undefined, () => lateError('run', ms));
    } catch (failure) {
      throw new HtabError(
        'ERR_HTAB_GUEST_STOPPED',
        // Also what has failed, been late or lost its answer may have let it run.
        'the guest has moved here and is not known to run; never run it at the source, and look before you run it here by hand',
        { cause: failure },
      );
    }
  }
}

function lateError(name: string, ms: number): Error {
  return migrationError(`rest.${name} did not settle within ${ms} ms`);
}
