import type { Writable } from 'node:stream';
import { HtabFormatError, HtabUnavailableError } from '../../base/errors.js';
import { HPTE_BYTES } from '../../hpt/geometry.js';
import { HPTE_V_PRIVATE } from '../../hpt/hpte-bits.js';
import type { HptTable } from '../../hpt/table.js';
import { limitError } from '../../migration/errors.js';
import { RecordCursor } from '../../records/cursor.js';
import { RecordEncoder } from '../../records/encoder.js';
import { fillRecords, type PassState } from '../../records/fill-records.js';
import { HEADER_BYTES } from '../../records/header.js';
import { AtomicFile } from '../../snapshot/atomic-file.js';
import { StreamSink, isWritable } from '../../snapshot/stream.js';
import type { QemuFindingKind } from './findings.js';
import { SAFE_RUN } from './htab-section.js';
import { HTAB_SECTION, type QemuPart } from './layout.js';
import { QemuStreamParser } from './parser.js';
import { type QemuStreamOptions, openStream } from './read-qemu-stream.js';

const BUFFER_BYTES = 1 << 20;
/** Last byte of v, in an entry. */
const V_END = 7;
/** A payload without records: the word that announces them, and what ends them. */
const NO_RECORDS = Buffer.alloc(4 + HEADER_BYTES);
const WORD = NO_RECORDS.subarray(0, 4);
const END_MARKER = NO_RECORDS.subarray(4);

/** Streams whose table has no one place where another could stand. */
const UNREPLACEABLE: ReadonlySet<QemuFindingKind> = new Set<QemuFindingKind>([
  'no-table',
  'radix',
  'no-end',
  'resized',
  'announced-again',
  'late-table',
  'no-footer',
]);

export interface RewriteOptions extends QemuStreamOptions {
  /** Put a table without valid entries in the place of one that has some: its guest hangs. Default false. */
  readonly allowEmpty?: boolean | undefined;
}

/** What was written. */
export interface RewriteReport {
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries of the table written. */
  readonly validEntries: number;
  /** Bytes of the stream that was read, and of the file that was written. */
  readonly streamBytes: number;
  readonly fileBytes: number;
}

/**
 * Writes a stream again with another table in the place of its own: all of it in the last part, in records that QEMU can
 * take, the parts before it empty. All else stays as it is. A save file of libvirt is not compressed afterwards.
 *
 * @param source its path, or a stream of its bytes
 * @param target path of a file, which appears once it is complete; or a stream
 * @throws HtabUnavailableError `unsupported` for a table of another order
 * @throws HtabFormatError for a stream that has no table to replace
 * @throws HtabError `ERR_HTAB_MIGRATION` for a table without valid entries, where that of the stream has some
 * @throws HtabFormatError, HtabSystemError as `readQemuStream`
 * @throws the signal's reason
 */
export async function rewriteQemuStream(
  source: string | AsyncIterable<Uint8Array>,
  table: HptTable,
  target: string | Writable,
  { signal, onProgress, allowEmpty = false }: RewriteOptions = {},
): Promise<RewriteReport> {
  await using opened = await openStream(source, signal);
  const { chunks, libvirt } = opened;
  const file = isWritable(target)
    ? new StreamSink(target, signal)
    : await AtomicFile.create(target, signal, 'stream');
  try {
    let fileBytes = 0;
    const write = async (bytes: Uint8Array): Promise<void> => {
      fileBytes += bytes.length;
      await file.write(bytes);
    };
    if (libvirt !== undefined) await write(libvirt.uncompressed);
    const replacement = new TableReplacement(table);
    for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
      for (const piece of replacement.push(chunk)) {
        if (piece !== 'table') await write(piece);
        else for (const records of recordsOf(table)) await write(records);
      }
      onProgress?.({ bytes: replacement.parser.offset, validEntries: table.validCount });
    }
    replacement.finish();
    if (!allowEmpty) replacement.checkNotEmpty();
    await file.commit();
    const { order, validCount: validEntries } = table;
    return { order, validEntries, streamBytes: replacement.parser.offset, fileBytes };
  } finally {
    await file.discard();
  }
}

type Piece = Uint8Array | 'table';

/** Tells, chunk by chunk, what is written in place of it. */
class TableReplacement {
  readonly parser = new QemuStreamParser({
    onPayload: (part) => {
      this.#begin(part);
    },
    onPart: (part) => {
      this.#end(part);
    },
  });
  readonly #table: HptTable;
  #chunk: Uint8Array = new Uint8Array(0);
  /** Offset of the chunk in the stream. */
  #offset = 0;
  /** What stands before this offset has been written, or replaced. */
  #written = 0;
  /** The next bytes are those of the table that is replaced. */
  #replacing = false;
  #pieces: Piece[] = [];

  constructor(table: HptTable) {
    this.#table = table;
  }

  push(chunk: Uint8Array): Piece[] {
    this.#chunk = chunk;
    this.#pieces = [];
    this.parser.push(chunk);
    if (!this.#replacing) this.#copyTo(this.#offset + chunk.length);
    this.#offset += chunk.length;
    return this.#pieces;
  }

  /** Ends the stream, which must have had a table in one place. */
  finish(): void {
    this.parser.finish();
    const found = this.parser.findings.list.find(({ kind }) => UNREPLACEABLE.has(kind));
    if (found === undefined) return;
    throw new HtabFormatError(`the stream's table cannot be replaced: ${found.message}`, {
      byteOffset: found.byteOffset ?? this.parser.offset,
      recordIndex: 0,
      section: HTAB_SECTION,
    });
  }

  /** QEMU loads an empty table, and the guest hangs. */
  checkNotEmpty(): void {
    const before = this.parser.table?.validCount ?? 0;
    if (this.#table.validCount > 0 || before === 0) return;
    const message = `the table has no valid entries, and that of the stream has ${before}: its guest would hang`;
    throw limitError('allowEmpty', message);
  }

  #begin({ section, type, payloadOffset }: Omit<QemuPart, 'payloadEnd'>): void {
    if (section.name !== HTAB_SECTION || type === 'start') return;
    // What the parser reads up to is always in the last chunk: it never waits for more than it needs.
    this.#copyTo(payloadOffset);
    this.#replacing = true;
  }

  #end({ section, type, payloadEnd }: QemuPart): void {
    if (section.name !== HTAB_SECTION) return;
    if (type === 'start') {
      this.#checkOrder();
      return;
    }
    this.#pieces.push(...(type === 'end' ? ([WORD, 'table', END_MARKER] as const) : [NO_RECORDS]));
    this.#written = payloadEnd;
    this.#replacing = false;
  }

  #copyTo(end: number): void {
    this.#pieces.push(this.#chunk.subarray(this.#written - this.#offset, end - this.#offset));
    this.#written = end;
  }

  #checkOrder(): void {
    const order = this.parser.table?.order;
    if (order === undefined || order === this.#table.order) return;
    throw new HtabUnavailableError(
      'unsupported',
      `the stream's table has order ${order}, and the one given ${this.#table.order}`,
      'give a table of the same order: the guest knows its size',
    );
  }
}

/**
 * The valid entries of a table as QEMU takes them: the table that they go to is empty. The kernel's own bits of v are left
 * out, one of which is QEMU's own mark.
 */
function* recordsOf(table: HptTable): Generator<Uint8Array, void, undefined> {
  const full: Uint8Array[] = [];
  const encoder = new RecordEncoder((records) => full.push(records), {
    headerByteOrder: 'BE',
    maxValid: SAFE_RUN,
  });
  const state: PassState = { cursor: 0, firstPass: true, boltedOnly: false };
  const cursor = new RecordCursor({ order: table.order });
  const buffer = new Uint8Array(BUFFER_BYTES);
  while (state.firstPass) {
    cursor.push(buffer.subarray(0, fillRecords(table, state, buffer)));
    while (cursor.next()) {
      const { index, validCount, bytes, byteOffset } = cursor;
      if (validCount === 0) continue;
      for (let at = byteOffset + V_END; at < byteOffset + validCount * HPTE_BYTES; at += HPTE_BYTES) {
        bytes[at]! &= ~HPTE_V_PRIVATE;
      }
      encoder.add(index, validCount, 0, bytes, byteOffset);
    }
    yield* full.splice(0);
  }
  encoder.flush();
  yield* full;
}
