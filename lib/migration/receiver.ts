import type { Duplex } from 'node:stream';
import { lazyDigest } from '../hpt/digest.js';
import { settled, within } from '../node/waiting.js';
import { acceptConnections, type Accepting } from './acceptor.js';
import type { Connection } from './connection.js';
import type { ReceiveReport } from './destination.js';
import { publishOutcome } from './events.js';
import { brokenConnection, isBrokenConnection, migrationError, nameTwice } from './failure.js';
import { outcomeOf } from './outcome.js';
import type { AskedOutcome, Hello } from './protocol.js';
import type { ReceiveSettings } from './receive-options.js';
import { ReceiveSession } from './receive-session.js';
import { States } from './states.js';
import type { Target } from './target.js';
import type { DestinationState } from './two-phase.js';

interface Greeted {
  readonly connection: Connection;
  readonly hello: Hello;
}

/** Takes one migration, over as many connections as it needs. */
export class Receiver {
  readonly #target: Target;
  readonly #settings: ReceiveSettings;
  #session: ReceiveSession | undefined;
  /** Of the migration that is under way. */
  #states: States<DestinationState> | undefined;
  /** Of the last connection that this migration's source has used. */
  #attempt = 0;
  /** A source that has said hello and is not served yet. */
  #next: Greeted | undefined;
  #wake: (() => void) | undefined;
  /** No connection is taken any more, because of this. */
  #over: { readonly error: Error } | undefined;

  constructor(target: Target, settings: ReceiveSettings) {
    this.#target = target;
    this.#settings = settings;
  }

  async run(channel: Duplex | AsyncIterable<Duplex>): Promise<ReceiveReport> {
    const { timeoutMs, signal, onRefused } = this.#settings;
    const accepting = acceptConnections(channel, {
      timeoutMs,
      signal,
      answer: (migrationId) => this.#answer(migrationId),
      take: (connection, hello) => this.#take({ connection, hello }),
      onRefused,
    });
    const isListener = !('write' in channel);
    try {
      let greeted = await this.#greeted(accepting, Infinity);
      for (;;) {
        const { migrationId, attempt } = greeted.hello;
        const states =
          this.#states?.migrationId === migrationId ? this.#states : States.ofDestination(migrationId);
        this.#states = states;
        this.#attempt = attempt;
        try {
          return await this.#serve(greeted, states);
        } catch (error) {
          if (!isListener || !isBrokenConnection(error)) throw error;
          states.become('waiting');
          greeted = await this.#greeted(accepting, this.#settings.reconnectMs, error);
        }
      }
    } catch (error) {
      await this.#giveUp(error);
      throw error;
    } finally {
      accepting.stop();
      const late = this.#next;
      this.#end(migrationError('this destination is done with its migration'));
      if (late !== undefined) void late.connection.abort(this.#over?.error, false);
      if (!isListener) await accepting.done.catch(() => undefined);
    }
  }

  async #serve(greeted: Greeted, states: States<DestinationState>): Promise<ReceiveReport> {
    const { migrationId, order, attempt: attempts } = greeted.hello;
    this.#session = new ReceiveSession(this.#target, this.#settings, greeted, states);
    try {
      const { table, ...counts } = await this.#session.run();
      publishOutcome({ side: 'destination', migrationId, outcome: 'moved' });
      return { migrationId, order, ...counts, attempts, digest: lazyDigest(table) };
    } finally {
      this.#session = undefined;
    }
  }

  /** The next source that says hello, if one comes in time. */
  async #greeted(accepting: Accepting, ms: number, lost?: unknown): Promise<Greeted> {
    const expired = (): Error =>
      migrationError(`the source did not come back within ${ms} ms after its connection had broken`, lost);
    // A connection may be the last one and yet be a source's.
    const exhausted = accepting.done.then(() => {
      if (this.#next === undefined) {
        throw migrationError('there are no more connections by which a source could come', lost);
      }
    });
    exhausted.catch(() => undefined);
    while (this.#next === undefined) {
      if (this.#over !== undefined) throw this.#over.error;
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      await within(Promise.race([woken, exhausted]), ms, this.#settings.signal, expired);
    }
    const greeted = this.#next;
    this.#next = undefined;
    return greeted;
  }

  async #take(greeted: Greeted): Promise<void> {
    const { connection, hello } = greeted;
    if (this.#over !== undefined) {
      await connection.abort(this.#over.error, false);
    } else if (this.#session !== undefined && this.#states?.migrationId !== hello.migrationId) {
      await connection.abort(migrationError('another migration is under way here'), false);
    } else if (hello.migrationId === this.#states?.migrationId && hello.attempt <= this.#attempt) {
      // A source counts on: this is another one, and would be told of the first one's guest as of its own.
      await connection.abort(nameTwice(hello.migrationId), false);
    } else {
      const before = this.#next;
      this.#next = greeted;
      // The source has given up the connection that seems to be there still.
      const superseded = brokenConnection('the source has come back over another connection');
      this.#session?.fail(superseded);
      this.#wake?.();
      await before?.connection.abort(superseded, false);
    }
  }

  async #answer(migrationId: string): Promise<AskedOutcome> {
    const outcome = await outcomeOf(this.#settings.journal, migrationId);
    if (outcome === 'aborted' && this.#states?.migrationId === migrationId) {
      const error = migrationError(
        `the source has asked for migration ${migrationId}, and been told that it is aborted`,
      );
      this.#session?.fail(error);
      this.#end(error);
    }
    return outcome;
  }

  #end(error: Error): void {
    this.#over ??= { error };
    this.#wake?.();
  }

  /** What is still undecided is decided: this destination will not commit any more. */
  async #giveUp(error: unknown): Promise<void> {
    const states = this.#states;
    if (states === undefined) return;
    const { migrationId } = states;
    if (states.now === 'in-doubt') {
      publishOutcome({ side: 'destination', migrationId, outcome: 'in-doubt', error });
      return;
    }
    await settled(() => outcomeOf(this.#settings.journal, migrationId));
    states.become('aborted');
    publishOutcome({ side: 'destination', migrationId, outcome: 'stayed', error });
  }
}
