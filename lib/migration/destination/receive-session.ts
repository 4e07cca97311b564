import { bothErrors } from '../../base/both-errors.js';
import type { HptTable } from '../../hpt/table.js';
import type { Connection } from '../wire/connection.js';
import { inDoubtError, isInDoubt, migrationError, journalTimeoutError } from '../errors.js';
import type { Journal } from '../journal/journal.js';
import type { Hello } from '../wire/messages.js';
import { PassTaker } from './pass-taker.js';
import type { RestTaker } from './rest-taker.js';
import { TableCopy } from './table-copy.js';
import type { LazyTarget } from './lazy-target.js';
import type { DestinationState } from '../states.js';
import type { StateMachine } from '../state-machine.js';
import { tryBriefly, within } from '../../base/time.js';
import { askJournal } from './hello-check.js';
import type { ReceiveProgress } from './receive-report.js';

/** What a destination's connections have in common. */
export interface ReceiveContext {
  readonly journal: Journal;
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  /** Longest time to empty the target's table after a failure. */
  readonly guestTimeoutMs: number;
  readonly onProgress: ((progress: ReceiveProgress) => void) | undefined;
  /** Takes what the guest has beside its table. */
  readonly rest: RestTaker | undefined;
  /** Whether the source could come back after this failure. */
  readonly mayComeBack: (error: unknown) => boolean;
}

/** What one connection has brought. */
export interface ReceivedTable {
  /** What the target's table holds. */
  readonly table: HptTable;
  readonly validEntries: number;
  readonly passes: number;
  readonly bytes: number;
  /** SHA-256 of all records and state sent; the journals of both sides have it. */
  readonly sentDigest: string;
}

/** One connection of a source that moves its table here. */
export class ReceiveSession {
  readonly #target: LazyTarget;
  readonly #context: ReceiveContext;
  readonly #connection: Connection;
  readonly #hello: Hello;
  readonly #state: StateMachine<DestinationState>;

  constructor(
    target: LazyTarget,
    context: ReceiveContext,
    { connection, hello }: { readonly connection: Connection; readonly hello: Hello },
    state: StateMachine<DestinationState>,
  ) {
    this.#target = target;
    this.#context = context;
    this.#connection = connection;
    this.#hello = hello;
    this.#state = state;
  }

  /** Ends the session with this error; without effect once it decides. */
  fail(error: unknown): void {
    const { now } = this.#state;
    if (now !== 'deciding' && now !== 'committed') this.#connection.fail(error);
  }

  /**
   * Takes the table. When this resolves the decision is in the journal and the source is being told; when it rejects,
   * the target's table is empty, and the connection closed.
   *
   * @throws HtabError `ERR_HTAB_IN_DOUBT` if it is `in-doubt`: the table is kept then, and the source has not been told
   *   anything
   */
  async run(): Promise<ReceivedTable> {
    const connection = this.#connection;
    connection.startHeartbeat();
    let copy: TableCopy | undefined;
    let sentDigest: string;
    try {
      this.#state.become('copying');
      const { access, rules } = await this.#target.open();
      const { backend, host } = access;
      copy = await TableCopy.begin(access, this.#hello.order, rules, (order) =>
        this.#target.emptyTable(order),
      );
      await connection.send({ type: 'welcome', backend, host, readBack: rules.readBack });
      sentDigest = await this.#take(copy);
      await this.#prepare(sentDigest);
      await connection.expect('commit');
      await this.#decide();
    } catch (error) {
      if (this.#state.now === 'in-doubt') {
        connection.drop();
        await tryBriefly(() => copy?.close());
        throw error;
      }
      // The copy goes before the source hears of it: our abort tells it that nothing of its guest is left here.
      const failure = await this.#discard(copy, error);
      await connection.abort(failure);
      throw failure;
    }
    const { table, passes, bytes } = copy;
    // The guest may run here: it waits neither for the source to hear it, nor for the connection to end, nor for long
    // for descriptors that do not close.
    void connection.finishWith({ type: 'committed' });
    await tryBriefly(() => copy.close());
    return { table, validEntries: table.validCount, passes, bytes, sentDigest };
  }

  /** Takes the table, and has the rest put in its place; gives the digest that both sides share. */
  async #take(copy: TableCopy): Promise<string> {
    const { migrationId } = this.#hello;
    const { rest, onProgress } = this.#context;
    const options = { migrationId, withRest: rest !== undefined, onProgress };
    const { digest, state } = await new PassTaker(this.#connection, copy, options).take();
    await rest?.accept(state, this.#connection, migrationId);
    return digest;
  }

  /** Throws away what has arrived; the rest only if the source cannot come back. Gives the error to report. */
  async #discard(copy: TableCopy | undefined, error: unknown): Promise<unknown> {
    const { rest, mayComeBack, guestTimeoutMs } = this.#context;
    const failure = copy === undefined ? error : await discardCopy(copy, error, guestTimeoutMs);
    return rest === undefined || mayComeBack(failure) ? failure : rest.discard(failure);
  }

  /** From here on the journal can be asked about this migration. */
  async #prepare(digest: string): Promise<void> {
    const { migrationId, order } = this.#hello;
    await askJournal(this.#context, (journal) =>
      journal.begin({ side: 'destination', migrationId, order, digest }),
    );
    this.#state.become('prepared');
    await this.#connection.send({ type: 'prepared', digest });
  }

  /** The commit point. */
  async #decide(): Promise<void> {
    const { migrationId } = this.#state;
    const { journal, timeoutMs, reconnectMs } = this.#context;
    // Until then the source waits and asks: up to here a slow disk costs nothing but time.
    const longestMs = timeoutMs + reconnectMs;
    this.#state.become('deciding');
    this.#connection.ignoreSignal();
    try {
      const decided = journal.decide('destination', migrationId, 'committed');
      const decision = await within(decided, longestMs, undefined, () =>
        inDoubtError(
          `it is not known whether migration ${migrationId} is committed`,
          'check the journal before the guest is run anywhere',
          journalTimeoutError(longestMs),
        ),
      );
      if (decision === 'aborted') {
        throw migrationError(`the commit came after migration ${migrationId} was reported as aborted`);
      }
    } catch (error) {
      if (isInDoubt(error)) this.#state.become('in-doubt');
      throw error;
    }
    this.#state.become('committed');
  }
}

async function discardCopy(copy: TableCopy, error: unknown, timeoutMs: number): Promise<unknown> {
  try {
    const late = (): Error =>
      migrationError(`emptying the target's table did not end within ${timeoutMs} ms`);
    await within(copy.discard(), timeoutMs, undefined, late);
    return error;
  } catch (failure) {
    return migrationError(
      "the migration failed, and the target's table could not be emptied; do not run the target",
      bothErrors(error, failure),
    );
  }
}
