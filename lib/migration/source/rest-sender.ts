import { setImmediate } from 'node:timers/promises';
import { checkBytes } from '../../base/arguments.js';
import { migrationError } from '../errors.js';
import { MAX_STATE_BYTES, type SourceRest } from '../rest.js';
import { callRest, restSettled } from '../rest-calls.js';
import type { Connection } from '../wire/connection.js';

export interface RestSenderOptions {
  readonly migrationId: string;
  /** Longest time to wait for a call that goes on after its signal has aborted. */
  readonly guestTimeoutMs: number;
}

/** The agent's `finish`, under way. */
export interface Finishing {
  /** Whether it has settled. */
  readonly isDone: boolean;
  /** What it gives. Waits over the connection, whose messages nothing else may wait for; rejects if it ends before. */
  state(): Promise<Uint8Array>;
}

/** Has the agent finish all of a guest but its table, over one connection. */
export class RestSender {
  readonly #rest: SourceRest;
  readonly #connection: Connection;
  readonly #options: RestSenderOptions;

  constructor(rest: SourceRest, connection: Connection, options: RestSenderOptions) {
    this.#rest = rest;
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * Waits until no earlier call goes on, while the guest still runs.
   *
   * @throws HtabStateError `busy` if one does all the same
   */
  ready(): Promise<void> {
    return this.#connection.during(restSettled(this.#rest, 'finish', this.#options.guestTimeoutMs));
  }

  /**
   * Finishes the rest beside the last passes over the stopped guest's table.
   *
   * @param deadlineMs until when both must be done
   * @param passes uses the connection; is told whether the agent's call has resolved, and may wait for it
   * @returns what the passes resolve with, and the agent's state
   * @throws the first failure of either; if it is the passes', the agent's call has been told
   */
  async finishBeside<T>(
    deadlineMs: number,
    passes: (finishing: Finishing) => Promise<T>,
  ): Promise<{ done: T; state: Uint8Array }> {
    const { migrationId } = this.#options;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#connection.ended]);
    let isDone = false;
    const finishing = callRest(this.#rest, 'finish', () =>
      this.#rest.finish({ signal, migrationId, deadlineMs }),
    )
      .then(stateOf)
      .finally(() => {
        isDone = true;
      });
    finishing.catch((error: unknown) => {
      // Once the attempt has failed, its connection still has last words to say.
      if (!signal.aborted) this.#connection.fail(error);
    });
    const progress = {
      get isDone() {
        return isDone;
      },
      state: () => this.#connection.during(finishing),
    };
    try {
      // A call with nothing to do is done by the next turn, and asks for no further pass.
      await Promise.race([finishing, setImmediate()]);
      const done = await passes(progress);
      return { done, state: await progress.state() };
    } catch (error) {
      over.abort(error);
      throw error;
    }
  }
}

/** A copy of what `finish` has given: its memory is the agent's, and the channel takes it only later. */
function stateOf(given: unknown): Uint8Array {
  if (given === undefined) return new Uint8Array(0);
  try {
    checkBytes('state', given);
  } catch (error) {
    throw migrationError('rest.finish must resolve with a Uint8Array, or with undefined', error);
  }
  const bytes = given as Uint8Array;
  if (bytes.length <= MAX_STATE_BYTES) return new Uint8Array(bytes);
  throw migrationError(
    `rest.finish gave ${bytes.length} bytes of state; at most ${MAX_STATE_BYTES} travel on the table's connection`,
  );
}
