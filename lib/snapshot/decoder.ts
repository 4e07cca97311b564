import { HtabFormatError } from '../base/errors.js';
import { foreignText } from '../base/foreign-text.js';
import { RecordCursor } from '../records/cursor.js';
import type { PassCounts } from '../records/pass-counter.js';
import { TableFold } from '../records/table-fold.js';
import { parseFields, pickFields, type FieldChecks } from '../frames/fields.js';
import { FRAME_HEADER_BYTES, FrameCodec, type FrameHeader } from '../frames/frame.js';
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

/** A table as a file has it. */
export interface Snapshot {
  readonly info: SnapshotInfo;
  readonly table: HptTable;
}

/** What is known since the file's header. */
interface Body {
  readonly header: SnapshotHeader;
  readonly fold: TableFold;
  readonly passes: PassCounts[];
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
  readonly #name: string;
  readonly #codec = new FrameCodec<SnapshotFrame>({
    ...SNAPSHOT_FRAMES,
    refuse: (reason) => this.#refusal(reason),
  });
  #frames = 0;
  /** Where the current frame begins. */
  #offset = 0;
  /** Records of complete passes. */
  #records = 0;
  #frame: FrameHeader<SnapshotFrame> | undefined;
  #body: Body | undefined;
  #end: SnapshotEnd | undefined;

  /** @param name of the file, for errors */
  constructor(name: string) {
    this.#name = name;
  }

  /**
   * @param header 16 bytes
   * @returns how many bytes of payload follow, at most 1 MiB
   */
  openFrame(header: Uint8Array): number {
    if (this.#end !== undefined) throw this.#refusal('data follows the end of the snapshot');
    this.#frame = this.#codec.decodeHeader(header);
    return this.#frame.length;
  }

  /** Takes the payload of the frame that was opened. It may be used again afterwards. */
  closeFrame(payload: Uint8Array): void {
    const frame = this.#frame!;
    this.#codec.checkPayload(frame, payload, this.#frames);
    if ((frame.type === 'header') !== (this.#body === undefined)) {
      throw this.#refusal(`frame ${this.#frames} is an unexpected ${frame.type} frame`);
    }
    if (this.#body === undefined) this.#takeHeader(payload);
    else if (frame.type === 'records') this.#takeRecords(this.#body, payload);
    else if (frame.type === 'pass') this.#takePass(this.#body, payload);
    else this.#takeEnd(this.#body, payload);
    this.#frame = undefined;
    this.#frames++;
    this.#offset += FRAME_HEADER_BYTES + payload.length;
  }

  /** How far the file has been read. */
  get progress(): { readonly bytes: number; readonly validEntries: number } {
    return { bytes: this.#offset, validEntries: this.#body?.fold.table.validCount ?? 0 };
  }

  /** The error for a file that ends, or was cut, `bytes` into a frame. */
  cutShort(bytes: number): HtabFormatError {
    if (this.#end !== undefined) return this.#refusal('data follows the end of the snapshot');
    return this.#refusal(`it ends at byte ${this.#offset + bytes}, inside frame ${this.#frames}`);
  }

  /** Ends the file. */
  finish(): Snapshot {
    if (this.#body === undefined || this.#end === undefined) {
      throw this.#refusal(
        this.#offset === 0
          ? 'it is empty'
          : `it ends after ${this.#frames} frames, and its last frame is missing`,
      );
    }
    const { header, fold, passes } = this.#body;
    return { table: fold.table, info: { ...header, ...this.#end, passes, fileBytes: this.#offset } };
  }

  #takeHeader(payload: Uint8Array): void {
    const fields = parseFields(payload);
    if (fields?.['format'] !== SNAPSHOT_NAME) {
      throw this.#refusal(`its header does not say "${SNAPSHOT_NAME}"`);
    }
    if (fields['version'] !== SNAPSHOT_VERSION) {
      const version = foreignText(JSON.stringify(fields['version'] ?? null));
      throw this.#refusal(`it has version ${version}; only version ${SNAPSHOT_VERSION} is supported`);
    }
    const header = this.#pick(payload, HEADER_FIELDS);
    const table = new HptTable(header.order);
    const fold = new TableFold(table, (found) => this.#refusal(found));
    fold.beginPass(cursorFor(header));
    this.#body = { header, fold, passes: [] };
  }

  #takeRecords({ fold }: Body, payload: Uint8Array): void {
    try {
      fold.add(payload);
    } catch (error) {
      if (!(error instanceof HtabFormatError)) throw error;
      // The cursor counts from the beginning of its pass.
      const { byteOffset, recordIndex, ptex } = error;
      throw new HtabFormatError(`the snapshot ${this.#name} is damaged: it has an invalid record`, {
        byteOffset: this.#offset + FRAME_HEADER_BYTES + byteOffset - fold.counts.bytes,
        recordIndex: this.#records + recordIndex,
        ...(ptex === undefined ? {} : { ptex }),
        cause: error,
      });
    }
  }

  #takePass({ header, fold, passes }: Body, payload: Uint8Array): void {
    const { pass, validEntries, invalidEntries, bytes } = this.#pick(payload, PASS_FIELDS);
    const { counts } = fold;
    if (
      pass !== passes.length + 1 ||
      validEntries !== counts.validEntries ||
      invalidEntries !== counts.invalidEntries ||
      bytes !== counts.bytes
    ) {
      throw this.#refusal(
        `it claims that pass ${pass} has ${validEntries} valid and ${invalidEntries} invalid entries in ${bytes} bytes; ` +
          `pass ${passes.length + 1} has ${counts.validEntries} and ${counts.invalidEntries} in ${counts.bytes}`,
      );
    }
    passes.push(fold.endPass());
    this.#records += fold.records;
    fold.beginPass(cursorFor(header));
  }

  #takeEnd({ fold, passes }: Body, payload: Uint8Array): void {
    const { table, counts } = fold;
    const end = this.#pick(payload, END_FIELDS);
    if (counts.bytes > 0 || end.passes !== passes.length || passes.length === 0) {
      throw this.#refusal(`it ends inside pass ${passes.length + 1} and claims ${end.passes} passes`);
    }
    if (end.quiescent && passes.at(-1)!.bytes > 0) {
      throw this.#refusal('it claims that its last pass found no change, but that pass has records');
    }
    const digest = digestTable(table);
    if (end.validEntries !== table.validCount || end.digest !== digest) {
      throw this.#refusal(
        `its records give ${table.validCount} valid entries with digest ${digest}, ` +
          `and it claims ${end.validEntries} with digest ${end.digest}`,
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
    const recordIndex = this.#records + (this.#body?.fold.records ?? 0);
    const byteOffset = this.#offset;
    if (byteOffset === 0) {
      return new HtabFormatError(`${this.#name} is not a snapshot of a table: ${reason}`, {
        ...{ byteOffset, recordIndex, place: '' },
      });
    }
    return new HtabFormatError(`the snapshot ${this.#name} is damaged: ${reason}`, {
      ...{ byteOffset, recordIndex, place: `frame ${this.#frames} at byte ${byteOffset}` },
    });
  }
}

function cursorFor({ order, headerByteOrder }: SnapshotHeader): RecordCursor {
  return new RecordCursor({ order, headerByteOrder, ascending: true });
}
