import { RecordCursor } from '../format/cursor.js';
import { foldRecords } from '../format/fold.js';
import { HptTable } from '../hpt/table.js';
import type { HptReader } from '../io/reader.js';
import type { Connection, Received } from './connection.js';
import { changedEntries, type PassReport } from './policy.js';
import { migrationError } from './protocol.js';

/** Frames the destination may be behind: enough to keep it busy, little enough for the rate to be its own. */
const WINDOW_FRAMES = 8;

/** How far a pass has come. */
export interface SendProgress {
  /** Number of the pass, from 1. */
  readonly pass: number;
  /** Whether the guest runs. */
  readonly live: boolean;
  /** Whether the destination has applied all of it. */
  readonly complete: boolean;
  /** Part of the table this pass has walked over, 0..1. */
  readonly scanned: number;
  /** Entries this pass has sent: valid ones, and from the second pass on removed ones too. */
  readonly entries: number;
  /** Record bytes this pass has sent. */
  readonly bytes: number;
  /** Rate at which the destination has applied this pass's bytes. */
  readonly bytesPerSecond: number;
  /** Entries the last complete pass found changed; undefined until a second pass is complete. */
  readonly changingEntries: number | undefined;
}

/** What shapes the passes. */
export interface PassSettings {
  readonly order: number;
  /** Record bytes per second while the guest runs; Infinity: as fast as the destination takes them. */
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: SendProgress) => void) | undefined;
}

/** Sends a table pass by pass, and keeps what the destination must have come to: the fold of all that was sent. */
export class PassSender {
  readonly table: HptTable;
  readonly reports: PassReport[] = [];
  readonly #connection: Connection;
  readonly #reader: HptReader;
  readonly #settings: PassSettings;
  /** Data frames sent and not yet applied at the destination, oldest first. */
  readonly #unapplied: { readonly sequence: number; readonly bytes: number }[] = [];
  #appliedBytes = 0;
  /** When the rate allows the next frame, on `performance`'s clock. */
  #nextFrameAt = 0;

  constructor(connection: Connection, reader: HptReader, settings: PassSettings) {
    this.#connection = connection;
    this.#reader = reader;
    this.#settings = settings;
    this.table = new HptTable(settings.order);
  }

  /** One pass, until the destination has applied all of it. */
  async sendPass(live: boolean): Promise<PassReport> {
    const { order, signal } = this.#settings;
    const pass = this.reports.length + 1;
    const counts = { validEntries: 0, invalidEntries: 0, bytes: 0 };
    const cursor = new RecordCursor({ order, ascending: true });
    const begun = performance.now();
    this.#appliedBytes = 0;
    const report = (): PassReport => ({ pass, live, ...counts, durationMs: performance.now() - begun });

    await this.#connection.send({ type: 'pass-begin', pass });
    for await (const records of this.#reader.pass(signal === undefined ? {} : { signal })) {
      cursor.push(records);
      const folded = foldRecords(cursor, this.table);
      counts.validEntries += folded.validEntries;
      counts.invalidEntries += folded.invalidEntries;
      counts.bytes += records.length;
      if (live) await this.#keepRate(records.length);
      await this.#awaitApplied(WINDOW_FRAMES - 1);
      const sequence = await this.#connection.send({ type: 'data', records });
      this.#unapplied.push({ sequence, bytes: records.length });
      this.#tell(report(), false, cursor.index + cursor.validCount + cursor.invalidCount);
    }
    cursor.finish();
    await this.#connection.send({ type: 'pass-end', pass, ...counts });
    await this.#awaitApplied(0);
    const done = report();
    this.reports.push(done);
    this.#tell(done, true, this.table.entryCount);
    return done;
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
      const due = oldest === undefined ? 'nothing' : `"applied" for frame ${oldest.sequence}`;
      throw migrationError(`the peer sent ${JSON.stringify(message)} where ${due} was due`);
    }
    this.#appliedBytes += oldest.bytes;
  }

  async #keepRate(bytes: number): Promise<void> {
    const now = performance.now();
    const due = Math.max(now, this.#nextFrameAt);
    this.#nextFrameAt = due + (bytes / this.#settings.bytesPerSecond) * 1000;
    if (due > now) await this.#connection.idle(due - now);
  }

  #tell(report: PassReport, complete: boolean, scannedEntries: number): void {
    const last = this.reports.at(-1);
    this.#settings.onProgress?.({
      pass: report.pass,
      live: report.live,
      complete,
      scanned: scannedEntries / this.table.entryCount,
      entries: report.validEntries + (report.pass === 1 ? 0 : report.invalidEntries),
      bytes: report.bytes,
      bytesPerSecond: report.durationMs === 0 ? 0 : (this.#appliedBytes / report.durationMs) * 1000,
      changingEntries: last === undefined ? undefined : changedEntries(last),
    });
  }
}
