import { HtabFormatError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import { parseFields, pickFields, type FieldChecks } from '../framing/fields.js';
import { foldRecords } from '../format/fold.js';
import { FRAME_HEADER_BYTES, FrameCodec, type FrameHeader } from '../framing/frame.js';
import { digestTable } from '../hpt/digest.js';
import { HptTable } from '../hpt/table.js';
import {
  END_FIELDS,
  HEADER_FIELDS,
  PASS_FIELDS,
  SNAPSHOT_FRAMES,
  SNAPSHOT_NAME,
  SNAPSHOT_VERSION,
  type SnapshotEnd,
  type SnapshotFrame,
  type SnapshotHeader,
  type SnapshotInfo,
} from './layout.js';
import type { PassCounts } from '../io/pass-progress.js';

/** A table as a file has it. */
export interface Snapshot {
  readonly info: SnapshotInfo;
  readonly table: HptTable;
}

const NOTHING: PassCounts = { validEntries: 0, invalidEntries: 0, bytes: 0 };

/** What is known since the file's header. */
interface Body {
  readonly header: SnapshotHeader;
  readonly table: HptTable;
  readonly passes: PassCounts[];
  /** Of the pass at hand. */
  cursor: RecordCursor;
  counts: PassCounts;
}

/**
 * Makes a table of a snapshot's bytes, frame by frame, and believes none of them: what is cut, altered, repeated, out of
 * order, left over or inconsistent is refused with its place.
 *
 * ```ts
 * while (there are bytes) decoder.closeFrame(bytes of the length that decoder.openFrame(16 bytes) asks for);
 * const { table, info } = decoder.finish();
 * ```
 *
 * Every method throws `HtabFormatError`: its `byteOffset` is that of the frame in question, or of the record or entry
 * within it; its `recordIndex` counts the records of the whole file.
 */
export class SnapshotDecoder {
  readonly #codec = new FrameCodec<SnapshotFrame>({
    ...SNAPSHOT_FRAMES,
    refuse: (reason) => this.#refusal(reason),
  });
  #frames = 0;
  /** Where the frame at hand begins. */
  #offset = 0;
  /** Records of complete passes. */
  #records = 0;
  #frame: FrameHeader<SnapshotFrame> | undefined;
  #body: Body | undefined;
  #end: SnapshotEnd | undefined;

  /**
   * @param header 16 bytes
   * @returns how many bytes of payload follow, at most 1 MiB
   */
  openFrame(header: Uint8Array): number {
    if (this.#end !== undefined) throw this.#refusal('something follows the end of the snapshot');
    this.#frame = this.#codec.decodeHeader(header);
    return this.#frame.length;
  }

  /** Takes the payload of the frame that was opened. It may be used again afterwards. */
  closeFrame(payload: Uint8Array): void {
    const frame = this.#frame!;
    this.#codec.checkPayload(frame, payload, this.#frames);
    if ((frame.type === 'header') !== (this.#body === undefined)) {
      throw this.#refusal(`frame ${this.#frames} is a ${frame.type} frame, which has no place there`);
    }
    if (this.#body === undefined) this.#takeHeader(payload);
    else if (frame.type === 'records') this.#takeRecords(this.#body, payload);
    else if (frame.type === 'pass') this.#takePass(this.#body, payload);
    else this.#takeEnd(this.#body, payload);
    this.#frame = undefined;
    this.#frames++;
    this.#offset += FRAME_HEADER_BYTES + payload.length;
  }

  /** The error for a file that ends, or was cut, `bytes` into a frame. */
  cutShort(bytes: number): HtabFormatError {
    if (this.#end !== undefined) return this.#refusal('something follows the end of the snapshot');
    return this.#refusal(`the file ends at byte ${this.#offset + bytes}, inside frame ${this.#frames}`);
  }

  /** Says that the file has ended. */
  finish(): Snapshot {
    if (this.#body === undefined || this.#end === undefined) {
      throw this.#refusal(`the file ends after ${this.#frames} frames, and the snapshot goes on`);
    }
    const { header, table, passes } = this.#body;
    return { table, info: { ...header, ...this.#end, passes, fileBytes: this.#offset } };
  }

  #takeHeader(payload: Uint8Array): void {
    const fields = parseFields(payload);
    if (fields?.['format'] !== SNAPSHOT_NAME) {
      throw this.#refusal(`its header does not say "${SNAPSHOT_NAME}"`);
    }
    if (fields['version'] !== SNAPSHOT_VERSION) {
      const version = JSON.stringify(fields['version']);
      throw this.#refusal(`it is of version ${version}; version ${SNAPSHOT_VERSION} is supported`);
    }
    const header = this.#pick(payload, HEADER_FIELDS);
    this.#body = {
      header,
      table: new HptTable(header.order),
      passes: [],
      cursor: cursorFor(header),
      counts: NOTHING,
    };
  }

  #takeRecords(body: Body, payload: Uint8Array): void {
    const { cursor, table, counts } = body;
    try {
      cursor.push(payload);
      const { validEntries, invalidEntries } = foldRecords(cursor, table);
      cursor.finish();
      body.counts = {
        validEntries: counts.validEntries + validEntries,
        invalidEntries: counts.invalidEntries + invalidEntries,
        bytes: counts.bytes + payload.length,
      };
    } catch (error) {
      if (!(error instanceof HtabFormatError)) throw error;
      // The cursor counts from the beginning of its pass.
      const { byteOffset, recordIndex, ptex } = error;
      throw new HtabFormatError('the snapshot is damaged: it has a record that no kernel gives', {
        byteOffset: this.#offset + FRAME_HEADER_BYTES + byteOffset - counts.bytes,
        recordIndex: this.#records + recordIndex,
        ...(ptex === undefined ? {} : { ptex }),
        cause: error,
      });
    }
  }

  #takePass(body: Body, payload: Uint8Array): void {
    const { pass, validEntries, invalidEntries, bytes } = this.#pick(payload, PASS_FIELDS);
    const { header, table, passes, counts } = body;
    if (
      pass !== passes.length + 1 ||
      validEntries !== counts.validEntries ||
      invalidEntries !== counts.invalidEntries ||
      bytes !== counts.bytes
    ) {
      throw this.#refusal(
        `it says that pass ${pass} has ${validEntries} valid and ${invalidEntries} invalid entries in ${bytes} bytes; ` +
          `pass ${passes.length + 1} has ${counts.validEntries} and ${counts.invalidEntries} in ${counts.bytes}`,
      );
    }
    if (pass === 1 && validEntries + invalidEntries !== table.entryCount) {
      throw this.#refusal(
        `the first pass names ${validEntries + invalidEntries} of the table's ${table.entryCount} entries`,
      );
    }
    passes.push(counts);
    this.#records += body.cursor.recordIndex + 1;
    body.cursor = cursorFor(header);
    body.counts = NOTHING;
  }

  #takeEnd({ table, passes, counts }: Body, payload: Uint8Array): void {
    const end = this.#pick(payload, END_FIELDS);
    if (counts.bytes > 0 || end.passes !== passes.length || passes.length === 0) {
      throw this.#refusal(
        `it ends within pass ${passes.length + 1}, and says that it has ${end.passes} passes`,
      );
    }
    if (end.quiescent && passes.at(-1)!.bytes > 0) {
      throw this.#refusal('it says that its last pass found nothing changed, and that pass has records');
    }
    const digest = digestTable(table);
    if (end.validEntries !== table.validCount || end.digest !== digest) {
      throw this.#refusal(
        `its records come to ${table.validCount} valid entries with digest ${digest}, ` +
          `and it says ${end.validEntries} with digest ${end.digest}`,
      );
    }
    this.#end = end;
  }

  #pick<T>(payload: Uint8Array, checks: FieldChecks<T>): T {
    const fields = parseFields(payload);
    if (fields === undefined) throw this.#refusal(`frame ${this.#frames} holds no JSON object`);
    return pickFields(fields, checks, (name) =>
      this.#refusal(`frame ${this.#frames} lacks a valid "${name}"`),
    );
  }

  #refusal(reason: string): HtabFormatError {
    const recordIndex = this.#records + (this.#body === undefined ? 0 : this.#body.cursor.recordIndex + 1);
    const what = this.#frames === 0 ? 'not a snapshot of a table' : 'the snapshot is damaged';
    return new HtabFormatError(`${what}: ${reason}`, { byteOffset: this.#offset, recordIndex });
  }
}

function cursorFor({ order, headerByteOrder }: SnapshotHeader): RecordCursor {
  return new RecordCursor({ order, headerByteOrder, ascending: true });
}
