import type { Duplex } from 'node:stream';
import { outOfRange } from '../arguments.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { digestTable } from '../hpt/digest.js';
import type { PageShift } from '../hpt/hpte.js';
import type { HtabVm } from '../vm/contract.js';
import { acceptConnections, type Accepting } from './acceptor.js';
import type { Connection } from './connection.js';
import { checkTable, readBackOf, targetAccess, type TargetTable } from './endpoints.js';
import { EntryRules } from './entry-rules.js';
import { publishOutcome, publishState } from './events.js';
import { brokenConnection, isBrokenConnection, isInDoubt, migrationError } from './failure.js';
import { MemoryJournal, type Journal } from './journal.js';
import { integerOption, reconnectTimeOf, timeoutOf, type MigrationOptions } from './options.js';
import { outcomeOf } from './outcome.js';
import type { AskedOutcome, Hello } from './protocol.js';
import { ReceiveSession, type ReceiveContext, type ReceiveProgress } from './receive-session.js';
import { within } from '../node/waiting.js';

export type { ReceiveProgress } from './receive-session.js';

export interface ReceiveOptions extends MigrationOptions {
  /**
   * What the decision is written to before the source hears of it. Default: one that ends with this process, and then a
   * source that has lost the connection at the wrong moment can ask nobody.
   */
  readonly journal?: Journal;
  /**
   * Read the table back and compare it, while it comes and before it is called prepared. Default true; false, and the
   * only choice, for a descriptor without `openRead`.
   */
  readonly readBack?: boolean;
  /**
   * Valid entries that a plausible table has when its first pass is complete. Default 1: a guest that has run at all has
   * entries, the kernel makes those of its real-mode area. 0 for a guest that has never run.
   */
  readonly minEntries?: number;
  /** Bolted entries among them; default 0. Linux bolts its kernel's mapping, other guests need not. */
  readonly minBoltedEntries?: number;
  /** log2 of the bytes of the only table that is taken, 18..36; default: any. */
  readonly expectedOrder?: number;
  /**
   * log2 of the bytes of the largest table that is taken, 18..36; default 36. A VM's host sets so much memory aside on a
   * source's word, before anything else is known of the table.
   */
  readonly maxOrder?: number;
  /** Page sizes that this host can map, as their log2; default: what the kernel takes, entry by entry. */
  readonly pageShifts?: readonly PageShift[];
  /** Called after every data frame. */
  readonly onProgress?: (progress: ReceiveProgress) => void;
}

/** A migration that has gone well, as the destination saw it. */
export interface ReceiveReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table. */
  readonly validEntries: number;
  /**
   * Of the table, as `digestTable`; with `readBack`, the target's own has been compared with it. Made when it is first
   * asked for: that takes as long as the table is large, and the guest may run before.
   */
  readonly digest: string;
  /** Passes on the last connection. */
  readonly passes: number;
  /** Record bytes applied on the last connection. */
  readonly bytes: number;
  /** Connections the source has used. */
  readonly attempts: number;
}

/**
 * Takes a guest's table from the {@link sendHpt} at the channel's other end. The target gets an empty table of the
 * source's order first, whatever it had; its guest must not run.
 *
 * When this resolves the table is complete, has been compared, the journal says that the guest is the destination's, and
 * it may run here. When it rejects it may not: what had arrived is thrown away, and the target's table is empty, or as it
 * was if no source came that far; except with `ERR_HTAB_IN_DOUBT`: then the journal may or may not have the decision, and nobody may run the guest until
 * somebody has looked.
 *
 * @param channel one connection, which is used up; or those of a listener, by which a source can come back after a
 *   broken one. Of a listener only `next()` is called, so that {@link answerOutcomes} can go on with it
 * @throws HtabError `ERR_HTAB_VERIFY` if the target's table is not what the source sent
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer or the connection failed, the table is one that cannot be, or the
 *   copy could not be thrown away
 * @throws HtabError `ERR_HTAB_IN_DOUBT` see above
 * @throws HtabFormatError for records no kernel would give
 * @throws HtabSystemError for what the target refuses (a table of this order, an entry), or the journal's file
 * @throws RangeError, TypeError for options and descriptors that cannot be; the channel has not been touched then
 * @throws the signal's reason; from the commit on the signal has no effect
 */
export async function receiveHpt(
  target: HtabVm | TargetTable,
  channel: Duplex | AsyncIterable<Duplex>,
  options: ReceiveOptions = {},
): Promise<ReceiveReport> {
  if (!('openHtab' in target)) checkTable(target, 'write');
  const { host, signal, onProgress, pageShifts, journal = new MemoryJournal() } = options;
  const timing = { timeoutMs: timeoutOf(options), reconnectMs: reconnectTimeOf(options), signal };
  const readBack = readBackOf(target, options.readBack);
  const minEntries = integerOption('minEntries', options.minEntries, 1, 0, 2 ** 32);
  const minBoltedEntries = integerOption('minBoltedEntries', options.minBoltedEntries, 0, 0, 2 ** 32);
  if (pageShifts?.length === 0) throw outOfRange('pageShifts', 'at least one page size', pageShifts);
  const { expectedOrder } = options;
  if (expectedOrder !== undefined)
    integerOption('expectedOrder', expectedOrder, 0, MIN_ORDER, MAX_STREAM_ORDER);
  const maxOrder = integerOption('maxOrder', options.maxOrder, MAX_STREAM_ORDER, MIN_ORDER, MAX_STREAM_ORDER);
  const access = await targetAccess(target, host);
  const entries = new EntryRules(access.host, pageShifts);
  const rules = { expectedOrder, maxOrder, entries, readBack, minEntries, minBoltedEntries };
  try {
    return await new Receiver({ target: access, rules, journal, onProgress }, timing).run(channel);
  } finally {
    await access.close();
  }
}

interface Timing {
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly signal: AbortSignal | undefined;
}

interface Greeted {
  readonly connection: Connection;
  readonly hello: Hello;
}

/** Takes one migration, over as many connections as it needs. */
class Receiver {
  readonly #context: ReceiveContext;
  readonly #timing: Timing;
  #session: ReceiveSession | undefined;
  #migrationId: string | undefined;
  /** A source that has said hello and is not served yet. */
  #next: Greeted | undefined;
  #wake: (() => void) | undefined;
  /** No connection is taken any more, because of this. */
  #over: { readonly error: Error } | undefined;

  constructor(context: ReceiveContext, timing: Timing) {
    this.#context = context;
    this.#timing = timing;
  }

  async run(channel: Duplex | AsyncIterable<Duplex>): Promise<ReceiveReport> {
    const { timeoutMs, signal } = this.#timing;
    const accepting = acceptConnections(channel, {
      timeoutMs,
      signal,
      answer: (migrationId) => this.#answer(migrationId),
      take: (connection, hello) => this.#take({ connection, hello }),
    });
    const isListener = !('write' in channel);
    try {
      let greeted = await this.#greeted(accepting, Infinity);
      for (;;) {
        const { migrationId } = greeted.hello;
        this.#migrationId = migrationId;
        try {
          return await this.#serve(greeted);
        } catch (error) {
          if (!isListener || !isBrokenConnection(error)) throw error;
          publishState({ side: 'destination', migrationId, state: 'waiting' });
          greeted = await this.#greeted(accepting, this.#timing.reconnectMs, error);
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

  async #serve({ connection, hello }: Greeted): Promise<ReceiveReport> {
    const { migrationId, order, attempt: attempts } = hello;
    this.#session = new ReceiveSession(this.#context, connection, hello);
    try {
      const { table, ...counts } = await this.#session.run();
      publishOutcome({ side: 'destination', migrationId, outcome: 'moved' });
      let digest: string | undefined;
      return {
        migrationId,
        order,
        ...counts,
        attempts,
        get digest() {
          return (digest ??= digestTable(table));
        },
      };
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
      await within(Promise.race([woken, exhausted]), ms, this.#timing.signal, expired);
    }
    const greeted = this.#next;
    this.#next = undefined;
    return greeted;
  }

  async #take(greeted: Greeted): Promise<void> {
    const { connection, hello } = greeted;
    if (this.#over !== undefined) {
      await connection.abort(this.#over.error, false);
    } else if (this.#session !== undefined && this.#session.migrationId !== hello.migrationId) {
      await connection.abort(migrationError('another migration is under way here'), false);
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
    const outcome = await outcomeOf(this.#context.journal, migrationId);
    if (outcome === 'aborted' && this.#migrationId === migrationId) {
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
    const migrationId = this.#migrationId;
    if (migrationId === undefined) return;
    if (isInDoubt(error)) {
      publishOutcome({ side: 'destination', migrationId, outcome: 'in-doubt', error });
      return;
    }
    await outcomeOf(this.#context.journal, migrationId).catch(() => undefined);
    publishState({ side: 'destination', migrationId, state: 'aborted' });
    publishOutcome({ side: 'destination', migrationId, outcome: 'stayed', error });
  }
}
