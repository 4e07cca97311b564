import type { Duplex } from 'node:stream';
import { lazyDigest } from '../../hpt/digest.js';
import { tryBriefly, within } from '../../base/time.js';
import { acceptConnections } from '../wire/acceptor.js';
import type { Connection } from '../wire/connection.js';
import { channels } from '../events.js';
import { brokenConnectionError, isBrokenConnection, migrationError, duplicateIdError } from '../errors.js';
import { abortUnlessDecided } from '../outcome.js';
import type { Journal } from '../journal/journal.js';
import type { Answer, Ask, AskedOutcome, Hello } from '../wire/messages.js';
import { refusalOf } from './hello-check.js';
import type { ReceiveSettings } from './receive-settings.js';
import { ReceiveSession } from './receive-session.js';
import { StateMachine } from '../state-machine.js';
import { TAKING, type Accepting, type Standing, type Taker } from '../wire/taker.js';
import type { LazyTarget } from './lazy-target.js';
import type { DestinationState } from '../states.js';
import type { ReceiveReport } from './receive-report.js';

interface Greeted {
  readonly connection: Connection;
  readonly hello: Hello;
}

/** What this receiver has committed. */
interface Committed {
  migrationId: string;
  digest: string;
}

/** Takes one migration, over as many connections as it needs. */
export class Receiver implements Taker {
  readonly #target: LazyTarget;
  readonly #settings: ReceiveSettings;
  /** More connections can come. */
  #isListener = false;
  #session: ReceiveSession | undefined;
  /** Of the migration that is under way. */
  #state: StateMachine<DestinationState> | undefined;
  /** Of the last source that was taken: its migration, and the number of its connection. */
  #taken: Pick<Hello, 'migrationId' | 'attempt'> | undefined;
  /** No connection is served, and none waits for it. */
  #isWaiting = true;
  /** A source that has said hello and is not served yet. */
  #next: Greeted | undefined;
  #wake: (() => void) | undefined;
  /** What is here by now, for a source that asks once the journal's owner has closed it. */
  readonly #committed: Partial<Committed> = {};
  /** No connection is taken any more, because of this. */
  #over: { readonly error: Error } | undefined;

  constructor(target: LazyTarget, settings: ReceiveSettings) {
    this.#target = target;
    this.#settings = settings;
  }

  async run(channel: Duplex | AsyncIterable<Duplex>): Promise<ReceiveReport> {
    this.#isListener = !('write' in channel);
    const { timeoutMs, signal, journal, onRefused } = this.#settings;
    const accepting = acceptConnections(channel, {
      timeoutMs,
      signal,
      journal,
      // It outlives this receiver, and must not keep its table.
      answer: answerOf(journal, this.#committed),
      taker: this,
      onRefused,
    });
    try {
      const report = await this.#connections(accepting).catch(async (error: unknown) => {
        throw await this.#giveUp(error);
      });
      // The decision stands, and its source is answered meanwhile.
      await this.#settings.rest?.run();
      return report;
    } finally {
      accepting.stop();
      const late = this.#next;
      this.#end(migrationError('this destination has finished its migration'));
      if (late !== undefined) void late.connection.abort(this.#over?.error, false);
      if (!this.#isListener) await accepting.done.catch(() => undefined);
    }
  }

  /** Connection after connection, until one of them brings the guest, or the source cannot come back. */
  async #connections(accepting: Accepting): Promise<ReceiveReport> {
    let greeted = await this.#greeted(accepting, Infinity);
    for (;;) {
      const { migrationId } = greeted.hello;
      const state =
        this.#state?.migrationId === migrationId ? this.#state : StateMachine.ofDestination(migrationId);
      this.#state = state;
      try {
        return await this.#serve(greeted, state);
      } catch (error) {
        if (!this.#mayComeBack(error)) throw error;
        state.become('waiting');
        greeted = await this.#greeted(accepting, this.#settings.reconnectMs, error);
      }
    }
  }

  async #serve(greeted: Greeted, state: StateMachine<DestinationState>): Promise<ReceiveReport> {
    const { migrationId, order, attempt: attempts } = greeted.hello;
    const context = { ...this.#settings, mayComeBack: this.#mayComeBack };
    this.#session = new ReceiveSession(this.#target, context, greeted, state);
    try {
      const { table, sentDigest, ...counts } = await this.#session.run();
      Object.assign(this.#committed, { migrationId, digest: sentDigest });
      channels.outcome.publish({ side: 'destination', migrationId, outcome: 'moved' });
      return { migrationId, order, ...counts, attempts, digest: lazyDigest(table) };
    } finally {
      this.#session = undefined;
    }
  }

  readonly #mayComeBack = (error: unknown): boolean => this.#isListener && isBrokenConnection(error);

  /** The next source that says hello, if one comes in time. */
  async #greeted(accepting: Accepting, ms: number, lost?: unknown): Promise<Greeted> {
    const expired = (): Error =>
      migrationError(`the source has not connected again within ${ms} ms after its connection broke`, lost);
    // A connection may be the last one and yet be a source's.
    const exhausted = accepting.done.then(() => {
      if (this.#next === undefined) {
        throw migrationError(
          `the listener ended before ${lost === undefined ? 'a source connected' : 'the source connected again'}; keep it open until the migration has ended`,
          lost,
        );
      }
    });
    exhausted.catch(() => undefined);
    this.#isWaiting = this.#next === undefined;
    while (this.#next === undefined) {
      if (this.#over !== undefined) throw this.#over.error;
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      await within(Promise.race([woken, exhausted]), ms, this.#settings.signal, expired);
    }
    const greeted = this.#next;
    this.#next = undefined;
    return greeted;
  }

  fit({ migrationId }: Hello): Standing {
    const { migrationId: only } = this.#settings;
    if (this.#over !== undefined) return 'none';
    if (only !== undefined) return migrationId === only ? 'own' : 'none';
    if (this.#taken === undefined) return 'free';
    if (this.#taken.migrationId === migrationId) return 'own';
    // What has come of a guest's rest would become another guest's.
    return this.#isWaiting && this.#settings.rest === undefined ? 'interrupted' : 'busy';
  }

  async take(connection: Connection, hello: Hello): Promise<boolean> {
    const { migrationId, attempt } = hello;
    await this.#checkHello(hello);
    if (!TAKING.includes(this.fit(hello))) return false;
    if (migrationId === this.#taken?.migrationId && attempt <= this.#taken.attempt) {
      // A source counts on: this is another one, and would be told of the first one's guest as of its own.
      throw duplicateIdError(migrationId);
    }
    this.#taken = { migrationId, attempt };
    this.#isWaiting = false;
    const before = this.#next;
    this.#next = { connection, hello };
    // The source has given up the connection that seems to be there still.
    const superseded = brokenConnectionError('the source has connected again');
    this.#session?.fail(superseded);
    this.#wake?.();
    await before?.connection.abort(superseded, false);
    return true;
  }

  /** @throws why the source is turned away; a failure of this side ends the receiver as well */
  async #checkHello(hello: Hello): Promise<void> {
    let refusal: Error | undefined;
    try {
      refusal = await refusalOf(hello, this.#settings, this.#target);
    } catch (error) {
      this.#end(error as Error);
      throw error;
    }
    if (refusal !== undefined) throw refusal;
  }

  answered(migrationId: string, outcome: AskedOutcome): void {
    if (outcome !== 'aborted' || this.#state?.migrationId !== migrationId) return;
    const error = migrationError(
      `the source asked for the outcome of migration ${migrationId}, and was told that it is aborted; begin again with a new id`,
    );
    this.#session?.fail(error);
    this.#end(error);
  }

  #end(error: Error): void {
    this.#over ??= { error };
    this.#wake?.();
  }

  /** What is still undecided is decided: this destination will not commit any more. Gives the error to report. */
  async #giveUp(error: unknown): Promise<unknown> {
    const state = this.#state;
    if (state?.now === 'in-doubt') {
      const { migrationId } = state;
      channels.outcome.publish({ side: 'destination', migrationId, outcome: 'in-doubt', error });
      return error;
    }
    this.#end(error as Error);
    const { rest, journal } = this.#settings;
    const failure = rest === undefined ? error : await rest.discard(error);
    if (state === undefined) return failure;
    const { migrationId } = state;
    await tryBriefly(() => abortUnlessDecided(journal, { migrationId, digest: null }));
    state.become('aborted');
    channels.outcome.publish({ side: 'destination', migrationId, outcome: 'stayed', error: failure });
    return failure;
  }
}

/** Answers from the journal; of what has been decided here, also where that fails. */
function answerOf(journal: Journal, committed: Partial<Committed>): (asked: Ask) => Promise<Answer> {
  return async (asked) => {
    try {
      return await abortUnlessDecided(journal, asked);
    } catch (error) {
      const { migrationId, digest } = committed;
      if (digest === undefined || asked.migrationId !== migrationId) throw error;
      if (asked.digest !== null && asked.digest !== digest) throw error;
      return { outcome: 'committed', digest };
    }
  };
}
