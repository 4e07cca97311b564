import { RecordCursor } from '../records/cursor.js';
import type { PassCounts } from '../records/pass-counter.js';
import { TableFold } from '../records/table-fold.js';
import { encodeFields } from '../frames/fields.js';
import { FRAME_HEADER_BYTES, FrameCodec } from '../frames/frame.js';
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
import { incompletePassError } from '../io/other-table.js';

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
 * Writes the frames of a snapshot, and folds their records.
 *
 * The order of calls is that of the file: {@link begin}, for each pass {@link add} any number of times and
 * {@link endPass}, {@link end}.
 */
export class SnapshotWriter {
  /** The records written so far, as a reader of the file will have them. */
  readonly fold: TableFold;
  readonly #sink: SnapshotSink;
  readonly #header: SnapshotHeader;
  readonly #passes: PassCounts[] = [];
  #frames = 0;
  #fileBytes = 0;

  constructor(sink: SnapshotSink, header: SnapshotHeader) {
    this.#sink = sink;
    this.#header = header;
    this.fold = new TableFold(new HptTable(header.order), incompletePassError);
  }

  begin(): Promise<void> {
    this.#beginPass();
    return this.#write(
      'header',
      encodeFields({ format: SNAPSHOT_NAME, version: SNAPSHOT_VERSION, ...this.#header }),
    );
  }

  /**
   * @param records whole records of this pass, at most 1 MiB
   * @throws HtabFormatError for records that no kernel gives
   */
  async add(records: Uint8Array): Promise<void> {
    this.fold.add(records);
    await this.#write('records', records);
  }

  /** @throws as {@link incompletePassError} if the first pass has not named every entry: the others are not known */
  async endPass(): Promise<PassCounts> {
    const counts = this.fold.endPass();
    this.#passes.push(counts);
    this.#beginPass();
    await this.#write('pass', encodeFields({ pass: this.#passes.length, ...counts }));
    return counts;
  }

  /** @param quiescent whether the last pass found nothing changed anywhere */
  async end(quiescent: boolean): Promise<SnapshotInfo> {
    const { table } = this.fold;
    const validEntries = table.validCount;
    const digest = digestTable(table);
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

  #beginPass(): void {
    const { order, headerByteOrder } = this.#header;
    this.fold.beginPass(new RecordCursor({ order, headerByteOrder, ascending: true }));
  }
}
