import { createHash } from 'node:crypto';
import type { Connection, Received } from './connection.js';
import type { EntryRules } from './entry-rules.js';
import type { PassProgress } from '../io/pass-progress.js';
import { migrationError } from './failure.js';
import type { LiveTable, TableChunk } from './live-table.js';
import type { PassReport } from './policy.js';

/** Frames the destination may be behind: enough to keep it busy, little enough for the rate to be its own. */
const WINDOW_FRAMES = 8;

/** What shapes the passes. */
export interface PassSettings {
  /** Record bytes per second while the guest runs; Infinity: as fast as the destination takes them. */
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: PassProgress) => void) | undefined;
}

/** Sends a table pass by pass over one connection. */
export class PassSender {
  readonly reports: PassReport[] = [];
  readonly #connection: Connection;
  readonly #table: LiveTable;
  readonly #rules: EntryRules;
  readonly #settings: PassSettings;
  /** Frames sent and not yet applied at the destination, oldest first. */
  readonly #unapplied: { readonly sequence: number; readonly bytes: number }[] = [];
  readonly #records = createHash('sha256');
  #appliedBytes = 0;
  /** When the rate allows the next frame, on `performance`'s clock. */
  #nextFrameAt = 0;

  /** @param rules what the destination can hold */
  constructor(connection: Connection, table: LiveTable, rules: EntryRules, settings: PassSettings) {
    this.#connection = connection;
    this.#table = table;
    this.#rules = rules;
    this.#settings = settings;
  }

  /** SHA-256 of all records sent, in hexadecimal digits. */
  get digest(): string {
    return this.#records.copy().digest('hex');
  }

  /** Sends all that the table was known to hold, to a destination that has nothing of it. */
  async resend(): Promise<PassReport> {
    return this.#send(true, this.#table.known(this.#rules), false);
  }

  /** One pass over the table, until the destination has applied all of it. */
  async sendPass(live: boolean): Promise<PassReport> {
    const { tells } = this.#table;
    return this.#send(live, this.#table.pass(this.#rules, this.#settings.signal), tells);
  }

  async #send(
    live: boolean,
    chunks: AsyncIterable<TableChunk> | Iterable<TableChunk>,
    tells: boolean,
  ): Promise<PassReport> {
    const pass = this.reports.length + 1;
    const sum = { validEntries: 0, invalidEntries: 0, bytes: 0, readMs: 0, idleMs: 0, confirmMs: 0 };
    const begun = performance.now();
    this.#appliedBytes = 0;
    const report = (): PassReport => ({
      ...sum,
      pass,
      live,
      changedEntries: tells ? sum.validEntries + sum.invalidEntries : undefined,
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
      this.#tell(report(), false, end);
      asked = performance.now();
    }
    sum.readMs += performance.now() - asked;
    const { validEntries, invalidEntries, bytes } = sum;
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
    sum.confirmMs = performance.now() - applied;
    const done = report();
    this.reports.push(done);
    this.#tell(done, true, this.#table.fold.entryCount);
    return done;
  }

  async #sendFrame(records: Uint8Array): Promise<void> {
    this.#records.update(records);
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

  #takeApplied({ message }: Received): void {
    const oldest = this.#unapplied.shift();
    if (message.type !== 'applied' || message.sequence !== oldest?.sequence) {
      const said = message.type === 'applied' ? `applied for frame ${message.sequence}` : message.type;
      const due = oldest === undefined ? 'nothing' : `applied for frame ${oldest.sequence}`;
      throw migrationError(`the peer sent ${said} where ${due} was due`);
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

  #tell(report: PassReport, complete: boolean, scannedEntries: number): void {
    this.#settings.onProgress?.({
      pass: report.pass,
      live: report.live,
      complete,
      scanned: scannedEntries / this.#table.fold.entryCount,
      entries: report.validEntries + (report.pass === 1 ? 0 : report.invalidEntries),
      bytes: report.bytes,
      bytesPerSecond: report.durationMs === 0 ? 0 : (this.#appliedBytes / report.durationMs) * 1000,
      changingEntries: this.reports.at(-1)?.changedEntries,
    });
  }
}
