import { HtabStateError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import { encodeFields } from '../framing/fields.js';
import { foldRecords } from '../format/fold.js';
import { FRAME_HEADER_BYTES, FrameCodec } from '../framing/frame.js';
import { digestTable } from '../hpt/digest.js';
import { HptTable } from '../hpt/table.js';
import {
  SNAPSHOT_FRAMES,
  SNAPSHOT_NAME,
  SNAPSHOT_VERSION,
  type SnapshotEnd,
  type SnapshotFrame,
  type SnapshotHeader,
  type SnapshotInfo,
} from './layout.js';
import type { PassCounts } from '../io/pass-progress.js';

/** Where a snapshot's bytes go. */
export interface SnapshotSink {
  /** Takes all of the bytes; they may be used again once it has resolved. */
  write(bytes: Uint8Array): Promise<void>;
}

const codec = new FrameCodec<SnapshotFrame>({
  ...SNAPSHOT_FRAMES,
  refuse: (reason) => new RangeError(reason),
});

/**
 * Writes the frames of a snapshot, and keeps what they come to.
 *
 * The order of calls is that of the file: {@link begin}, for each pass {@link add} any number of times and
 * {@link endPass}, {@link end}.
 */
export class SnapshotWriter {
  /** What a reader of the file will have, so far. */
  readonly table: HptTable;
  readonly #sink: SnapshotSink;
  readonly #header: SnapshotHeader;
  readonly #passes: PassCounts[] = [];
  #counts: PassCounts = { validEntries: 0, invalidEntries: 0, bytes: 0 };
  #cursor: RecordCursor;
  #frames = 0;
  #fileBytes = 0;

  constructor(sink: SnapshotSink, header: SnapshotHeader) {
    this.#sink = sink;
    this.#header = header;
    this.table = new HptTable(header.order);
    this.#cursor = this.#newCursor();
  }

  /** Of the pass at hand. */
  get counts(): PassCounts {
    return this.#counts;
  }

  /** ptex behind the last entry that the pass at hand has named. */
  get reached(): number {
    const { index, validCount, invalidCount } = this.#cursor;
    return index + validCount + invalidCount;
  }

  begin(): Promise<void> {
    return this.#write(
      'header',
      encodeFields({ format: SNAPSHOT_NAME, version: SNAPSHOT_VERSION, ...this.#header }),
    );
  }

  /**
   * @param records whole records of the pass at hand, at most 1 MiB
   * @throws HtabFormatError for records that no kernel gives
   */
  async add(records: Uint8Array): Promise<void> {
    this.#cursor.push(records);
    const { validEntries, invalidEntries } = foldRecords(this.#cursor, this.table);
    this.#cursor.finish();
    this.#counts = {
      validEntries: this.#counts.validEntries + validEntries,
      invalidEntries: this.#counts.invalidEntries + invalidEntries,
      bytes: this.#counts.bytes + records.length,
    };
    await this.#write('records', records);
  }

  /** @throws HtabStateError `lost` if the first pass has not named every entry: then what it left out is not known */
  async endPass(): Promise<PassCounts> {
    const counts = this.#counts;
    const named = counts.validEntries + counts.invalidEntries;
    if (this.#passes.length === 0 && named !== this.table.entryCount) {
      throw new HtabStateError(
        'lost',
        `the first pass gave ${named} of the ${this.table.entryCount} entries of a table of order ` +
          `${this.table.order}: the descriptor had been read before, the order is another, or the guest uses radix`,
      );
    }
    this.#passes.push(counts);
    this.#counts = { validEntries: 0, invalidEntries: 0, bytes: 0 };
    this.#cursor = this.#newCursor();
    await this.#write('pass', encodeFields({ pass: this.#passes.length, ...counts }));
    return counts;
  }

  /** @param quiescent whether the last pass found nothing changed anywhere */
  async end(quiescent: boolean): Promise<SnapshotInfo> {
    const validEntries = this.table.validCount;
    const digest = digestTable(this.table);
    const end: SnapshotEnd = { passes: this.#passes.length, validEntries, digest, quiescent };
    await this.#write('end', encodeFields(end));
    return { ...this.#header, ...end, passes: this.#passes, fileBytes: this.#fileBytes };
  }

  async #write(type: SnapshotFrame, payload: Uint8Array): Promise<void> {
    await this.#sink.write(codec.encodeHeader(type, this.#frames, payload));
    await this.#sink.write(payload);
    this.#frames++;
    this.#fileBytes += FRAME_HEADER_BYTES + payload.length;
  }

  #newCursor(): RecordCursor {
    const { order, headerByteOrder } = this.#header;
    return new RecordCursor({ order, headerByteOrder, ascending: true });
  }
}
