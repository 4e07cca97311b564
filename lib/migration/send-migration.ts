import { HtabStateError } from '../errors.js';
import { lazyDigest } from '../hpt/digest.js';
import { Connection } from './connection.js';
import type { Dialer } from './dialer.js';
import type { SourceAccess } from './endpoints.js';
import { publishOutcome } from './events.js';
import { inDoubt, isBrokenConnection, migrationError, silentJournal } from './failure.js';
import type { GuestControl } from '../io/guest-control.js';
import type { Decision } from './journal.js';
import { LiveTable } from './live-table.js';
import { askOutcome } from './outcome.js';
import type { SendSettings } from './send-options.js';
import { greet, sendTable, stoppedTooLong, type Prepared } from './send-session.js';
import type { SendReport } from './source.js';
import { States } from './states.js';
import type { SourceState } from './two-phase.js';
import { settled, within } from '../node/waiting.js';

type Moved = Omit<SendReport, 'migrationId' | 'attempts'>;

/** A connection over which the destination has said that it is prepared. */
interface ReadyConnection {
  readonly connection: Connection;
  readonly table: LiveTable;
  readonly prepared: Prepared;
}

/** The source's side of one migration; its states are those of two-phase.ts. */
export class SendMigration {
  readonly #access: SourceAccess;
  readonly #guest: GuestControl;
  readonly #dialer: Dialer;
  readonly #settings: SendSettings;
  readonly #states: States<SourceState>;
  #table: LiveTable | undefined;
  #restarts = 0;
  /** What the table was given up for, to begin again. */
  #restartedBy: unknown;

  constructor(access: SourceAccess, guest: GuestControl, dialer: Dialer, settings: SendSettings) {
    this.#access = access;
    this.#guest = guest;
    this.#dialer = dialer;
    this.#settings = settings;
    this.#states = States.ofSource(settings.migrationId);
  }

  async run(): Promise<SendReport> {
    const { migrationId } = this.#settings;
    const ended = { side: 'source', migrationId } as const;
    try {
      const moved = await this.#attempts();
      const { stopMs, predictedStopMs } = moved;
      this.#states.become('moved');
      publishOutcome({ ...ended, outcome: 'moved', stopMs, predictedStopMs });
      return { migrationId, attempts: this.#dialer.connections, ...moved };
    } catch (error) {
      const outcome = this.#states.now === 'in-doubt' ? 'in-doubt' : 'stayed';
      if (outcome === 'stayed') {
        await this.#record('aborted');
        await this.#guest.fullSpeed();
        this.#states.become('stayed');
      }
      publishOutcome({ ...ended, outcome, error });
      throw error;
    } finally {
      // The outcome stands: a descriptor that does not close would make a moved guest one that stayed.
      await this.#table?.close().catch(() => undefined);
    }
  }

  /** Connection after connection, until one of them moves the guest, or there is no point in another. */
  async #attempts(): Promise<Moved> {
    const { signal, timeoutMs } = this.#settings;
    for (;;) {
      this.#states.become('connecting');
      let failure: unknown;
      try {
        const channel = await this.#dialer.connect(signal);
        const { connection, table, prepared } = await this.#attempt(
          new Connection(channel, timeoutMs, signal),
        );
        const acknowledged = await this.#commit(connection);
        const stopMs = this.#guest.stoppedMs ?? 0;
        await Promise.all([this.#record('committed'), connection.finish()]);
        const { validEntries, passes, predictedStopMs } = prepared;
        const { order, fold } = table;
        const digest = lazyDigest(fold);
        return { order, validEntries, digest, passes, stopMs, predictedStopMs, acknowledged };
      } catch (error) {
        if (!isBrokenConnection(error) && error !== this.#restartedBy) throw error;
        failure = error;
      }
      if (!(await this.#dialer.backOff(signal))) throw failure;
    }
  }

  /** All that can still be taken back. If it fails the guest runs. */
  async #attempt(connection: Connection): Promise<ReadyConnection> {
    try {
      this.#table ??= await LiveTable.open(this.#access, this.#settings.frameBytes);
      const table = this.#table;
      return { connection, table, prepared: await this.#prepare(connection, table) };
    } catch (error) {
      const restarts = this.#mayRestart(error);
      const [resumed] = await Promise.allSettled([
        this.#guest.resume(error),
        connection.abort(error, restarts || isBrokenConnection(error)),
      ]);
      if (resumed.status === 'rejected') throw resumed.reason;
      if (restarts) {
        this.#restarts++;
        this.#restartedBy = error;
        await this.#table?.close().catch(() => undefined);
        this.#table = undefined;
      }
      throw error;
    }
  }

  async #prepare(connection: Connection, table: LiveTable): Promise<Prepared> {
    const { migrationId, journal, timeoutMs, stopLimitMs, signal } = this.#settings;
    const context = { access: this.#access, settings: this.#settings, table, guest: this.#guest };
    const rules = await greet(connection, context, this.#dialer.connections);
    this.#dialer.heard();
    this.#states.become('copying');
    const prepared = await sendTable(connection, rules, {
      ...context,
      stopped: () => {
        this.#states.become('stopped');
      },
    });
    const begun = journal.begin({
      side: 'source',
      migrationId,
      order: table.order,
      digest: prepared.recordsDigest,
    });
    // The guest stands still for this disk no longer than for anything else.
    const stopMs = Math.max(0, prepared.stopEndsAt - performance.now());
    const late = (): Error => (stopMs < timeoutMs ? stoppedTooLong(stopLimitMs) : silentJournal(timeoutMs));
    try {
      await within(begun, Math.min(stopMs, timeoutMs), signal, late);
    } catch (error) {
      signal?.throwIfAborted();
      // Whatever its journal is in doubt about, the source has not committed.
      throw migrationError('the journal cannot be written: the source will not commit without it', error);
    }
    // From here to the first byte of the commit nothing is waited for: what has not ended this by now comes too late.
    connection.throwIfEnded();
    return prepared;
  }

  /** A reader that is of no use any more, where there can be another one. */
  #mayRestart(error: unknown): boolean {
    if (!(error instanceof HtabStateError) || this.#restarts >= this.#settings.maxRestarts) return false;
    return error.state === 'order-changed'
      ? this.#access.knowsOrder
      : error.state === 'lost' && this.#access.canReopen;
  }

  /**
   * The commit: from its first byte on only the destination can say where the guest is.
   *
   * @returns once the guest is the destination's; when it rejects the guest runs here, or it is in doubt
   */
  async #commit(connection: Connection): Promise<SendReport['acknowledged']> {
    const { timeoutMs } = this.#settings;
    connection.ignoreSignal();
    this.#states.become('committing');
    let failure: unknown;
    try {
      await connection.send({ type: 'commit' });
      // A destination that only works on its decision can be asked for it as well.
      await connection.expect('committed', timeoutMs);
      return 'directly';
    } catch (error) {
      failure = error;
    }
    await connection.finish();
    // A destination that gives up instead of acknowledging has not taken the guest: only silence leaves a doubt. If it
    // gives up for another try, its word for this migration is as good as before.
    if (!connection.peerGaveUp) {
      if ((await this.#ask(failure)) === 'committed') return 'asked';
      failure = migrationError(
        'the connection broke at the commit; the destination says that it has not taken the guest',
        failure,
      );
    }
    await this.#guest.resume(failure);
    throw failure;
  }

  /** Asks until there is an answer, or the limit is reached. */
  async #ask(failure: unknown): Promise<Decision> {
    this.#states.become('asking');
    const { migrationId, timeoutMs, signal } = this.#settings;
    const dialer = this.#dialer.forAsking();
    let last = failure;
    try {
      while (await dialer.backOff(signal)) {
        try {
          const channel = await dialer.connect(signal);
          const outcome = await askOutcome(channel, migrationId, { timeoutMs, signal });
          if (outcome !== 'unknown') return outcome;
          last = migrationError('whoever answered has never heard of it');
          break;
        } catch (error) {
          last = error;
        }
      }
    } catch (reason) {
      last = reason;
    }
    this.#states.become('in-doubt');
    throw inDoubt(
      `the commit of migration ${migrationId} was sent and not acknowledged: the guest may run at the destination`,
      'keep it stopped here until the destination has been asked (kvm-htab resolve)',
      last,
    );
  }

  /** What has been learnt is true whether it can be written down or not; without it a restarted source asks again. */
  async #record(decision: Decision): Promise<void> {
    const { journal, migrationId } = this.#settings;
    await settled(() => journal.decide('source', migrationId, decision));
  }
}
