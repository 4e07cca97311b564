import { HtabStateError } from '../../base/errors.js';
import { lazyDigest } from '../../hpt/digest.js';
import { Connection } from '../wire/connection.js';
import type { Dialer } from '../wire/dialer.js';
import type { Source } from './source.js';
import { channels } from '../events.js';
import { isBrokenConnection, migrationError, duplicateIdError, journalTimeoutError } from '../errors.js';
import type { GuestControl } from '../../precopy/guest-control.js';
import type { Decision } from '../journal/journal.js';
import { LiveTable } from './live-table.js';
import { Committer } from './committer.js';
import type { SendSettings } from './send-settings.js';
import { exchangeHello, sendTable, stopLimitError, type Prepared } from './send-session.js';
import { StateMachine } from '../state-machine.js';
import type { SourceState } from '../states.js';
import { tryBriefly, within } from '../../base/time.js';
import type { SendReport } from './send-report.js';

type Moved = Omit<SendReport, 'migrationId' | 'attempts'>;

/** A connection over which the destination has said that it is prepared. */
interface ReadyConnection {
  readonly connection: Connection;
  readonly table: LiveTable;
  readonly prepared: Prepared;
}

/** The source's side of one migration; its states are those of states.ts. */
export class SendMigration {
  readonly #access: Source;
  readonly #guest: GuestControl;
  readonly #dialer: Dialer;
  readonly #settings: SendSettings;
  readonly #state: StateMachine<SourceState>;
  readonly #committer: Committer;
  /** The destination has welcomed this source, or told it to connect again. */
  #answered = false;
  /** It has welcomed it over the present connection. */
  #welcomed = false;
  #table: LiveTable | undefined;
  #restarts = 0;
  /** What the table was given up for, to begin again. */
  #restartedBy: unknown;

  constructor(access: Source, guest: GuestControl, dialer: Dialer, settings: SendSettings) {
    this.#access = access;
    this.#guest = guest;
    this.#dialer = dialer;
    this.#settings = settings;
    this.#state = StateMachine.ofSource(settings.migrationId);
    this.#committer = new Committer(this.#state, guest, dialer, settings);
  }

  async run(): Promise<SendReport> {
    const { migrationId } = this.#settings;
    const ended = { side: 'source', migrationId } as const;
    // Outside the `try`, which records `aborted`: an entry of this id is about another guest, or an earlier try.
    await this.#checkId().catch(async (error: unknown) => {
      const { given } = this.#dialer;
      const { timeoutMs, signal } = this.#settings;
      if (given !== undefined)
        await new Connection(given, 'destination', timeoutMs, signal).abort(error, false);
      throw error;
    });
    try {
      const moved = await this.#attempts();
      const { stopMs, predictedStopMs } = moved;
      this.#state.become('moved');
      channels.outcome.publish({ ...ended, outcome: 'moved', stopMs, predictedStopMs });
      return { migrationId, attempts: this.#dialer.connections, ...moved };
    } catch (error) {
      const outcome = this.#state.now === 'in-doubt' ? 'in-doubt' : 'stayed';
      if (outcome === 'stayed') {
        await this.#record('aborted');
        await this.#guest.fullSpeed();
        this.#state.become('stayed');
      }
      channels.outcome.publish({ ...ended, outcome, error });
      throw error;
    } finally {
      // The outcome stands: a descriptor that does not close would make a moved guest one that stayed.
      await this.#table?.close().catch(() => undefined);
    }
  }

  /** Refuses an id that is in use before anything is copied, or decided about the migration that has it. */
  async #checkId(): Promise<void> {
    const { migrationId, journal, timeoutMs, signal } = this.#settings;
    // In a chain, so that a caller's own journal may throw where it should reject.
    const found = Promise.resolve().then(() => journal.find('source', migrationId));
    let entry;
    try {
      entry = await within(found, timeoutMs, signal, () => journalTimeoutError(timeoutMs));
    } catch (error) {
      signal?.throwIfAborted();
      throw migrationError('the source does not begin: its journal cannot be read', error);
    }
    if (entry === undefined) return;
    if (entry.state !== 'pending') throw duplicateIdError(migrationId);
    throw migrationError(
      `migration ${migrationId} is pending in the source's journal; find out how it ended (kvm-htab resolve), and use another id ` +
        'for the next migration',
    );
  }

  /** Connection after connection, until one of them moves the guest, or there is no point in another. */
  async #attempts(): Promise<Moved> {
    const { signal, timeoutMs } = this.#settings;
    for (;;) {
      this.#state.become('connecting');
      let failure: unknown;
      try {
        const channel = await this.#dialer.connect(signal);
        const { connection, table, prepared } = await this.#attempt(
          new Connection(channel, 'destination', timeoutMs, signal),
        );
        const acknowledged = await this.#committer.commit(connection, prepared.sentDigest);
        const { stoppedMs: stopMs } = this.#guest;
        await Promise.all([this.#record('committed'), connection.finish()]);
        const { validEntries, passes, predictedStopMs, sourceRechecked } = prepared;
        const { order, known } = table;
        const digest = lazyDigest(known);
        return {
          order,
          validEntries,
          digest,
          passes,
          stopMs,
          predictedStopMs,
          acknowledged,
          sourceRechecked,
        };
      } catch (error) {
        if (!isBrokenConnection(error) && error !== this.#restartedBy) throw error;
        failure = error;
      }
      if (!(await this.#dialer.backOff(failure, signal))) throw failure;
    }
  }

  /** All that can still be taken back. If it fails the guest runs. */
  async #attempt(connection: Connection): Promise<ReadyConnection> {
    this.#welcomed = false;
    try {
      this.#table ??= await LiveTable.open(this.#access, this.#settings.frameBytes);
      const table = this.#table;
      return { connection, table, prepared: await this.#prepare(connection, table) };
    } catch (error) {
      const [resumed, gaveUp] = await Promise.allSettled([
        this.#guest.resume(error),
        this.#giveUp(connection, error),
      ]);
      if (resumed.status === 'rejected') throw resumed.reason;
      throw gaveUp.status === 'rejected' ? gaveUp.reason : error;
    }
  }

  /**
   * Gives up a connection. The destination is told to wait for the next one only if that will come: a new table is opened
   * before, as the guest may have none any more.
   *
   * @throws what keeps the migration from beginning again
   */
  async #giveUp(connection: Connection, error: unknown): Promise<void> {
    // The time without a connection begins with its loss, however long it had been quiet before.
    if (this.#welcomed) this.#dialer.heard();
    if (connection.peerGaveUp && isBrokenConnection(error) && !this.#answered) {
      // Its receiver is yet to come. Told so again and again, the source does not wait for ever.
      this.#dialer.heard();
      this.#answered = true;
    }
    const restarts = this.#dialer.mayReconnect && this.#mayRestart(error);
    try {
      if (restarts) await this.#restart(error);
    } catch (failure) {
      await connection.abort(failure, false);
      throw failure;
    }
    await connection.abort(error, this.#dialer.mayReconnect && (restarts || isBrokenConnection(error)));
  }

  async #restart(error: unknown): Promise<void> {
    this.#restarts++;
    await this.#table?.close().catch(() => undefined);
    this.#table = undefined;
    this.#table = await LiveTable.open(this.#access, this.#settings.frameBytes);
    this.#restartedBy = error;
  }

  async #prepare(connection: Connection, table: LiveTable): Promise<Prepared> {
    const { migrationId, journal, timeoutMs, stopLimitMs, signal } = this.#settings;
    const context = { access: this.#access, settings: this.#settings, table, guest: this.#guest };
    const rules = await exchangeHello(connection, context, this.#dialer.connections);
    this.#dialer.heard();
    this.#answered = true;
    this.#welcomed = true;
    this.#state.become('copying');
    const prepared = await sendTable(connection, rules, {
      ...context,
      stopped: () => {
        this.#state.become('stopped');
      },
    });
    const begun = journal.begin({
      side: 'source',
      migrationId,
      order: table.order,
      digest: prepared.sentDigest,
    });
    // The guest stands still for this disk no longer than for anything else.
    const stopMs = Math.max(0, prepared.stopEndsAt - performance.now());
    const late = (): Error =>
      stopMs < timeoutMs ? stopLimitError(stopLimitMs) : journalTimeoutError(timeoutMs);
    try {
      await within(begun, Math.min(stopMs, timeoutMs), signal, late);
    } catch (error) {
      signal?.throwIfAborted();
      // Whatever its journal is in doubt about, the source has not committed.
      throw migrationError('the source does not commit: its journal has not recorded the migration', error);
    }
    await within(
      this.#guest.confirmStopped(signal),
      Math.max(0, prepared.stopEndsAt - performance.now()),
      signal,
      () => stopLimitError(stopLimitMs),
    );
    // From here to the first byte of the commit nothing is waited for: what has not ended this by now comes too late.
    connection.throwIfEnded();
    return prepared;
  }

  /** Whether a reader that has failed can be replaced by another one. */
  #mayRestart(error: unknown): boolean {
    if (!(error instanceof HtabStateError) || this.#restarts >= this.#settings.maxRestarts) return false;
    return error.state === 'order-changed'
      ? this.#access.knowsOrder
      : (error.state === 'lost' || error.state === 'replaced') && this.#access.fresh !== undefined;
  }

  /** What has been learnt is true whether it can be written down or not; without it a restarted source asks again. */
  async #record(decision: Decision): Promise<void> {
    const { journal, migrationId } = this.#settings;
    await tryBriefly(() => journal.decide('source', migrationId, decision));
  }
}
