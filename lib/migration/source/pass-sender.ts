import { createHash } from 'node:crypto';
import { MAX_DATA_BYTES } from '../wire/protocol.js';
import type { Connection } from '../wire/connection.js';
import type { ReceivedMessage } from '../wire/frame-reader.js';
import { unexpectedMessageError } from '../wire/lost-connection.js';
import type { EntryRules } from '../compatibility.js';
import type { PassProgress } from '../../precopy/pass-progress.js';
import { keepReport, type PassReport } from '../../precopy/pass-report.js';
import { MAX_EMPTY_PASSES } from '../../precopy/policy.js';
import type { PassCounts } from '../../records/pass-counter.js';
import type { LiveTable, TableChunk } from './live-table.js';

/** Frames the destination may be behind: enough to keep it busy, little enough for the rate to be its own. */
const WINDOW_FRAMES = 8;

/** What shapes the passes. */
export interface PassSettings {
  /** Record bytes per second while the guest runs; Infinity: as fast as the destination takes them. */
  readonly bytesPerSecond: number;
  /** The guest runs in no pass. */
  readonly alreadyPaused: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: PassProgress) => void) | undefined;
}

/** What is known of a pass before it is made. */
interface PassKind {
  readonly live: boolean;
  /** What it finds has changed since the pass before. */
  readonly showsChanges: boolean;
  readonly waitedMs: number;
}

/** A destination that gets nothing but heartbeats for 20 timeouts gives up: it gets an entry after so many. */
const MAX_QUIET_TIMEOUTS = 5;
/** The same for passes without an entry; there are more of them to come, while the guest runs and once it is stopped. */
const MAX_EMPTY_IN_A_ROW = MAX_EMPTY_PASSES / 4;

/** Sends a table pass by pass over one connection, and then the state of all else. */
export class PassSender {
  readonly reports: PassReport[] = [];
  readonly #connection: Connection;
  readonly #table: LiveTable;
  readonly #rules: EntryRules;
  readonly #settings: PassSettings;
  /** Frames sent and not yet applied at the destination, oldest first. */
  readonly #unapplied: { readonly sequence: number; readonly bytes: number }[] = [];
  readonly #hash = createHash('sha256');
  #appliedBytes = 0;
  /** When the rate allows the next frame, on `performance`'s clock. */
  #nextFrameAt = 0;
  /** Passes as the destination counts them; those that only bring it up to date included. */
  #passes = 0;
  #emptyInARow = 0;
  #reported = 0;
  /** When the last pass with a report ended, and when the last one of all, on `performance`'s clock. */
  #reportedAt = 0;
  #sentAt = 0;

  /** @param rules what the destination can hold */
  constructor(connection: Connection, table: LiveTable, rules: EntryRules, settings: PassSettings) {
    this.#connection = connection;
    this.#table = table;
    this.#rules = rules;
    this.#settings = settings;
  }

  /** SHA-256 of all records and state sent, in hexadecimal digits. */
  get digest(): string {
    return this.#hash.copy().digest('hex');
  }

  /** Sends all that the table was known to hold, to a destination that has nothing of it. */
  async resend(): Promise<PassReport> {
    const kind = { live: true, showsChanges: false, waitedMs: 0 };
    return this.#report(kind, this.#table.passOfKnown(this.#rules));
  }

  /**
   * One pass over the table, until the destination has applied all of it.
   *
   * @param live the guest need not wait for it: it keeps to the rate
   * @param waited time has been let pass since the pass before
   */
  async sendPass(live: boolean, waited = false): Promise<PassReport> {
    const { showsChanges } = this.#table;
    const waitedMs = waited ? performance.now() - this.#reportedAt : 0;
    await this.#sendMarked();
    return this.#report(
      { live, showsChanges, waitedMs },
      this.#table.pass(this.#rules, this.#settings.signal),
    );
  }

  /**
   * Lets time pass between two passes; rejects if the connection ends first. A destination gives up on a source without
   * work, and this one only waits: it gets an entry again from time to time.
   */
  async idle(ms: number): Promise<void> {
    await this.#awaitApplied(0);
    await this.#connection.idle(ms);
    const quietMs = performance.now() - this.#sentAt;
    if (this.#emptyInARow >= MAX_EMPTY_IN_A_ROW || quietMs >= MAX_QUIET_TIMEOUTS * this.#settings.timeoutMs) {
      this.#table.markOne();
      await this.#sendMarked();
    }
  }

  /** Looks at the table between two passes, as {@link LiveTable.look}. */
  async look(): Promise<boolean> {
    return this.#table.look(this.#rules, this.#settings.signal);
  }

  /** Sends the entries that are marked, if any are: a pass of its own for the destination, none for the reports. */
  async #sendMarked(): Promise<void> {
    if (this.#table.marked === 0) return;
    const kind = { live: true, showsChanges: false, waitedMs: 0 };
    await this.#send(kind, this.#table.passOfMarked(this.#rules), () => undefined);
  }

  async #report(
    kind: PassKind,
    chunks: AsyncIterable<TableChunk> | Iterable<TableChunk>,
  ): Promise<PassReport> {
    this.#reported++;
    const report = await this.#send(kind, chunks, (done, end) => {
      this.#tellProgress(done, false, end);
    });
    this.#reportedAt = this.#sentAt;
    keepReport(this.reports, report);
    this.#tellProgress(report, true, this.#table.known.entryCount);
    return report;
  }

  /** Sends state in as few frames as can be, after the last pass. */
  async sendState(state: Uint8Array): Promise<void> {
    this.#hash.update(state);
    for (let at = 0; at < state.length; at += MAX_DATA_BYTES) {
      const bytes = state.subarray(at, at + MAX_DATA_BYTES);
      // A destination that refuses it says so at once.
      await this.#connection.during(this.#connection.send({ type: 'state', bytes }));
    }
  }

  async #send(
    { live, showsChanges, waitedMs }: PassKind,
    chunks: AsyncIterable<TableChunk> | Iterable<TableChunk>,
    onFrame: (report: PassReport, end: number) => void,
  ): Promise<PassReport> {
    const pass = ++this.#passes;
    const sum = { validEntries: 0, invalidEntries: 0, bytes: 0, readMs: 0, idleMs: 0, confirmMs: 0 };
    const begun = performance.now();
    this.#appliedBytes = 0;
    const report = (): PassReport => ({
      ...sum,
      pass: this.#reported,
      live: live && !this.#settings.alreadyPaused,
      changedEntries: showsChanges ? sum.validEntries + sum.invalidEntries : undefined,
      waitedMs,
      durationMs: performance.now() - begun,
    });

    await this.#connection.send({ type: 'pass-begin', pass });
    let asked = performance.now();
    for await (const { records, validEntries, invalidEntries, end } of chunks) {
      sum.readMs += performance.now() - asked;
      sum.validEntries += validEntries;
      sum.invalidEntries += invalidEntries;
      sum.bytes += records.length;
      if (live) sum.idleMs += await this.#keepRate(records.length);
      await this.#awaitApplied(WINDOW_FRAMES - 1);
      await this.#sendFrame(records);
      onFrame(report(), end);
      asked = performance.now();
    }
    sum.readMs += performance.now() - asked;
    sum.confirmMs = await this.#endPass(pass, sum);
    return report();
  }

  /** @returns ms from the last record applied until the destination has confirmed the pass */
  async #endPass(pass: number, { validEntries, invalidEntries, bytes }: PassCounts): Promise<number> {
    const sequence = await this.#connection.send({
      type: 'pass-end',
      pass,
      validEntries,
      invalidEntries,
      bytes,
    });
    this.#unapplied.push({ sequence, bytes: 0 });
    await this.#awaitApplied(1);
    const applied = performance.now();
    await this.#awaitApplied(0);
    this.#sentAt = performance.now();
    this.#emptyInARow = bytes === 0 ? this.#emptyInARow + 1 : 0;
    return this.#sentAt - applied;
  }

  async #sendFrame(records: Uint8Array): Promise<void> {
    this.#hash.update(records);
    const sequence = await this.#connection.send({ type: 'data', records });
    this.#unapplied.push({ sequence, bytes: records.length });
  }

  /** Waits until at most this many frames are on their way; also takes what the destination has said meanwhile. */
  async #awaitApplied(frames: number): Promise<void> {
    for (let received = this.#connection.poll(); received !== undefined; received = this.#connection.poll()) {
      this.#takeApplied(received);
    }
    while (this.#unapplied.length > frames) this.#takeApplied(await this.#connection.receive());
  }

  #takeApplied({ message }: ReceivedMessage): void {
    const oldest = this.#unapplied.shift();
    if (message.type !== 'applied' || message.sequence !== oldest?.sequence) {
      const due = oldest === undefined ? 'nothing' : `applied for frame ${oldest.sequence}`;
      throw unexpectedMessageError('destination', message, due);
    }
    this.#appliedBytes += oldest.bytes;
  }

  /** @returns ms let pass */
  async #keepRate(bytes: number): Promise<number> {
    const now = performance.now();
    const due = Math.max(now, this.#nextFrameAt);
    this.#nextFrameAt = due + (bytes / this.#settings.bytesPerSecond) * 1000;
    if (due > now) await this.#connection.idle(due - now);
    return due - now;
  }

  #tellProgress(report: PassReport, complete: boolean, scannedEntries: number): void {
    this.#settings.onProgress?.({
      pass: report.pass,
      live: report.live,
      complete,
      scanned: scannedEntries / this.#table.known.entryCount,
      entries: report.validEntries + (report.pass === 1 ? 0 : report.invalidEntries),
      bytes: report.bytes,
      bytesPerSecond: report.durationMs === 0 ? 0 : (this.#appliedBytes / report.durationMs) * 1000,
      changingEntries: this.reports.at(-1)?.changedEntries,
    });
  }
}
