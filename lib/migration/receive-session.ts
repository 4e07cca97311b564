import type { HptTable } from '../hpt/table.js';
import type { BackendName } from '../vm/contract.js';
import { unexpected, type Connection } from './connection.js';
import { publishPass } from './events.js';
import { inDoubt, isInDoubt, migrationError, nameTwice, silentJournal } from './failure.js';
import type { Journal } from './journal.js';
import type { PassCounts } from '../io/pass-progress.js';
import type { Hello, MessageOf } from './protocol.js';
import { TableCopy } from './table-copy.js';
import type { Target } from './target.js';
import type { DestinationState } from './two-phase.js';
import type { States } from './states.js';
import { within } from '../node/waiting.js';

/** How far the destination has come. */
export interface ReceiveProgress {
  /** Number of the pass on this connection, from 1. */
  readonly pass: number;
  /** Record bytes applied, over all passes on this connection. */
  readonly bytes: number;
  /** Valid entries in the table so far. */
  readonly validEntries: number;
}

/** What a destination's connections have in common. */
export interface ReceiveContext {
  readonly journal: Journal;
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly onProgress: ((progress: ReceiveProgress) => void) | undefined;
}

/** What one connection has brought. */
export interface Received {
  /** What the target's table holds. */
  readonly table: HptTable;
  readonly validEntries: number;
  readonly passes: number;
  readonly bytes: number;
}

/** One connection of a source that moves its table here. */
export class ReceiveSession {
  readonly #target: Target;
  readonly #context: ReceiveContext;
  readonly #connection: Connection;
  readonly #hello: Hello;
  readonly #states: States<DestinationState>;

  constructor(
    target: Target,
    context: ReceiveContext,
    { connection, hello }: { readonly connection: Connection; readonly hello: Hello },
    states: States<DestinationState>,
  ) {
    this.#target = target;
    this.#context = context;
    this.#connection = connection;
    this.#hello = hello;
    this.#states = states;
  }

  /** Ends the session with this error; without effect once it decides. */
  fail(error: unknown): void {
    const { now } = this.#states;
    if (now !== 'deciding' && now !== 'committed') this.#connection.fail(error);
  }

  /**
   * Takes the table. When this resolves the decision is in the journal and the source is being told; when it rejects,
   * the target's table is empty, and the connection closed.
   *
   * @throws HtabError `ERR_HTAB_IN_DOUBT` if it is `in-doubt`: the table is kept then, and the source has not been told
   *   anything
   */
  async run(): Promise<Received> {
    const connection = this.#connection;
    connection.startHeartbeat();
    let copy: TableCopy | undefined;
    try {
      await this.#checkHello();
      this.#states.become('copying');
      const { access, rules } = await this.#target.open();
      const { backend, host } = access;
      checkBackends(this.#hello.backend, backend);
      copy = await TableCopy.begin(access, this.#hello.order, rules, (order) =>
        this.#target.emptyFold(order),
      );
      await connection.send({ type: 'welcome', backend, host, readBack: rules.readBack });
      const prepare = await this.#applyPasses(copy);
      const digest = copy.verify(prepare);
      await this.#prepare(digest);
      await connection.expect('commit');
      await this.#decide();
      const { fold: table, validEntries, passes, bytes } = copy;
      // The guest may run here: it waits neither for the source to hear it, nor for the connection to end.
      void connection.finishWith({ type: 'committed' });
      await copy.close();
      return { table, validEntries, passes, bytes };
    } catch (error) {
      if (this.#states.now === 'in-doubt') {
        connection.drop();
        await copy?.close();
        throw error;
      }
      // The copy goes before the source hears of it: our abort tells it that nothing of its guest is left here.
      const failure = await discard(copy, error);
      await connection.abort(failure);
      throw failure;
    }
  }

  async #checkHello(): Promise<void> {
    const { headerByteOrder, migrationId, attempt } = this.#hello;
    // Records are written to the target as they come, and every supported host reads little-endian headers.
    if (headerByteOrder !== 'LE') {
      throw migrationError(
        `the source sends record headers in ${headerByteOrder} byte order; LE is supported`,
      );
    }
    const entry = await this.#fromJournal((journal) => journal.find('destination', migrationId));
    if (entry !== undefined && entry.state !== 'pending') {
      throw migrationError(`migration ${migrationId} has been decided here: it is ${entry.state}`);
    }
    // It was prepared, so its source has used a connection before; only another source begins with its first.
    if (entry !== undefined && attempt === 1) throw nameTwice(migrationId);
  }

  /** Applies pass upon pass, until the source says that it has no more. */
  async #applyPasses(copy: TableCopy): Promise<MessageOf<'prepare'>> {
    for (;;) {
      const { message } = await this.#connection.receive();
      const pass = copy.passes + 1;
      if (message.type === 'prepare' && copy.passes > 0) return message;
      if (message.type !== 'pass-begin' || message.pass !== pass)
        throw unexpected(message, `pass-begin of pass ${pass}`);
      await this.#applyPass(copy, pass);
    }
  }

  async #applyPass(copy: TableCopy, pass: number): Promise<void> {
    const cursor = copy.passCursor();
    const arrived = { validEntries: 0, invalidEntries: 0, bytes: 0 };
    const begun = performance.now();
    for (;;) {
      const { message, sequence } = await this.#connection.receive();
      if (message.type === 'data') {
        const { validEntries, invalidEntries, bytes } = await copy.apply(message.records, cursor);
        arrived.validEntries += validEntries;
        arrived.invalidEntries += invalidEntries;
        arrived.bytes += bytes;
        await this.#connection.send({ type: 'applied', sequence });
        this.#context.onProgress?.({ pass, bytes: copy.bytes, validEntries: copy.validEntries });
        continue;
      }
      if (message.type !== 'pass-end') throw unexpected(message, 'data or pass-end');
      if (message.pass !== pass || !sameCounts(message, arrived)) {
        throw migrationError(
          `the source ends pass ${message.pass} with ${describe(message)}; pass ${pass} had ${describe(arrived)}`,
        );
      }
      const applied = performance.now();
      await copy.endPass();
      const ended = performance.now();
      await this.#connection.send({ type: 'applied', sequence });
      publishPass({
        side: 'destination',
        migrationId: this.#states.migrationId,
        pass,
        ...arrived,
        durationMs: ended - begun,
        readBackMs: ended - applied,
      });
      return;
    }
  }

  /** From here on the journal can be asked about this migration. */
  async #prepare(digest: string): Promise<void> {
    const { migrationId, order } = this.#hello;
    await this.#fromJournal((journal) => journal.begin({ side: 'destination', migrationId, order, digest }));
    this.#states.become('prepared');
    await this.#connection.send({ type: 'prepared', digest });
  }

  /** What the journal says before the decision: whatever it is in doubt about by then, the guest is the source's. */
  async #fromJournal<T>(call: (journal: Journal) => Promise<T>): Promise<T> {
    const { journal, timeoutMs } = this.#context;
    try {
      return await within(call(journal), timeoutMs, undefined, () => silentJournal(timeoutMs));
    } catch (error) {
      if (!isInDoubt(error)) throw error;
      throw migrationError('the journal is of no use: nothing can be decided here', error);
    }
  }

  /** The commit point. */
  async #decide(): Promise<void> {
    const { migrationId } = this.#states;
    const { journal, timeoutMs, reconnectMs } = this.#context;
    // Until then the source waits and asks: up to here a slow disk costs nothing but time.
    const longestMs = timeoutMs + reconnectMs;
    this.#states.become('deciding');
    this.#connection.ignoreSignal();
    try {
      const decided = journal.decide('destination', migrationId, 'committed');
      const decision = await within(decided, longestMs, undefined, () =>
        inDoubt(
          `whether migration ${migrationId} is committed cannot be known`,
          'look at the journal before the guest is run anywhere',
          silentJournal(longestMs),
        ),
      );
      if (decision === 'aborted') {
        throw migrationError(
          `the commit came after it had been said that migration ${migrationId} is aborted`,
        );
      }
    } catch (error) {
      if (isInDoubt(error)) this.#states.become('in-doubt');
      throw error;
    }
    this.#states.become('committed');
  }
}

/**
 * @throws HtabError `ERR_HTAB_MIGRATION` where a real guest would be moved to an emulated table; whatever falls back to
 *   emulation by itself loses the guest
 */
export function checkBackends(source: BackendName, destination: BackendName): void {
  if (destination === 'emulated' && source !== 'emulated') {
    throw migrationError(`the destination's table is emulated: a guest of a ${source} VM cannot run on it`);
  }
}

function sameCounts(a: PassCounts, b: PassCounts): boolean {
  return a.validEntries === b.validEntries && a.invalidEntries === b.invalidEntries && a.bytes === b.bytes;
}

function describe({ validEntries, invalidEntries, bytes }: PassCounts): string {
  return `${validEntries} valid and ${invalidEntries} invalid entries in ${bytes} bytes`;
}

/** Throws away what has arrived; gives the error to report. */
async function discard(copy: TableCopy | undefined, error: unknown): Promise<unknown> {
  try {
    await copy?.discard();
    return error;
  } catch (failure) {
    return migrationError(
      'the migration failed, and what had arrived could not be thrown away: the target must not be run',
      new AggregateError([error, failure]),
    );
  }
}
