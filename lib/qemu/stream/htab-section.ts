import { HtabFormatError } from '../../base/errors.js';
import { MAX_STREAM_ORDER, MIN_ORDER, HPTE_BYTES } from '../../hpt/geometry.js';
import { HptTable } from '../../hpt/table.js';
import { RecordCursor } from '../../records/cursor.js';
import { HEADER_BYTES } from '../../records/header.js';
import type { PassCounts } from '../../records/pass-counter.js';
import { TableFold } from '../../records/table-fold.js';
import type { Findings } from './findings.js';
import { NO_TABLE } from './layout.js';
import type { Steps, StreamCursor } from './stream-cursor.js';

/** Most valid entries of a record that KVM gives QEMU, which reads 2048 bytes at a time: QEMU can take those. */
export const SAFE_RUN = 127;
/** QEMU adds in 32 bits: a sum that is not less is a small one there. */
const MAX_INDEX = 2 ** 32;
const NOTHING: PassCounts = { validEntries: 0, invalidEntries: 0, bytes: 0 };

/** Records of all parts of the table's section. */
export interface HtabCounts extends PassCounts {
  readonly records: number;
  /** Most valid entries of one record. */
  readonly longestRun: number;
}

/** Folds the sections of a guest's page table. */
export class HtabSection {
  readonly #findings: Findings;
  #fold: TableFold | undefined;
  #radix = false;
  #longestRun = 0;

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  /** The table as the sections so far give it; undefined for a guest without one. */
  get table(): HptTable | undefined {
    return this.#fold?.table;
  }

  get counts(): HtabCounts {
    const { counts = NOTHING, records = 0 } = this.#fold ?? {};
    return { ...counts, records, longestRun: this.#longestRun };
  }

  /** Reads the payload of one part. What it means is told by its first word, not by the type of the part. */
  *read(cursor: StreamCursor): Steps {
    const byteOffset = cursor.offset;
    const word = yield* cursor.uint32();
    if (word === NO_TABLE) {
      this.#fold = undefined;
      this.#radix = true;
      this.#findings.add('radix', 'the guest uses radix and has no page table', { byteOffset });
    } else if (word !== 0) {
      this.#announce(cursor, word, byteOffset);
    } else {
      yield* this.#readRecords(cursor);
    }
  }

  #announce(cursor: StreamCursor, order: number, byteOffset: number): void {
    if (order < MIN_ORDER || order > MAX_STREAM_ORDER) {
      throw cursor.refusal(
        `the table has order ${order}; records can address tables of order ${MIN_ORDER} to ${MAX_STREAM_ORDER}`,
        { byteOffset },
      );
    }
    const before = this.#fold?.table.order;
    if (before !== undefined) {
      const kind = before === order ? 'announced-again' : 'resized';
      const message = `the table's order is announced again, ${order} after ${before}: QEMU makes an empty table of it`;
      this.#findings.add(kind, message, { byteOffset });
    }
    this.#fold = new TableFold(new HptTable(order), (found) => new Error(found));
    this.#fold.beginPass(new RecordCursor({ order, headerByteOrder: 'BE' }));
  }

  *#readRecords(cursor: StreamCursor): Steps {
    const { window } = cursor;
    const fold = this.#fold;
    if (fold === undefined && !this.#radix)
      throw cursor.refusal('there are records before the order of their table');
    for (;;) {
      if (!window.ready(HEADER_BYTES)) yield* cursor.need(HEADER_BYTES);
      if (fold !== undefined) this.#takeSpan(cursor, fold);
      // What is left is the end, a record that is out of range, or one whose end has not come.
      if (window.available < HEADER_BYTES) continue;
      const index = window.uint32();
      const counts = window.uint32(4);
      const bytes = HEADER_BYTES + (counts >>> 16) * HPTE_BYTES;
      if (index === 0 && counts === 0) {
        window.advance(HEADER_BYTES);
        return;
      }
      const end = index + (counts >>> 16) + (counts & 0xffff);
      if (fold === undefined) throw cursor.refusal('a guest without a table has records');
      if (end <= fold.table.entryCount) {
        yield* cursor.need(bytes);
        continue;
      }
      this.#outOfRange(cursor.offset, index, end, fold.table.order);
      yield* cursor.skip(bytes);
    }
  }

  /** Folds the whole records that are there, up to one that is out of range. */
  #takeSpan(cursor: StreamCursor, fold: TableFold): void {
    const { window } = cursor;
    const { bytes, end } = window;
    const { entryCount } = fold.table;
    let at = window.at;
    while (at + HEADER_BYTES <= end) {
      const index = bytes.readUInt32BE(at);
      const valid = bytes.readUInt16BE(at + 4);
      const invalid = bytes.readUInt16BE(at + 6);
      const next = at + HEADER_BYTES + valid * HPTE_BYTES;
      if (next > end || index + valid + invalid > entryCount || (index === 0 && valid + invalid === 0)) break;
      if (valid > SAFE_RUN) this.#longRecord(cursor.offset + at - window.at, index, valid);
      if (valid > this.#longestRun) this.#longestRun = valid;
      at = next;
    }
    if (at === window.at) return;
    const { bytes: folded } = fold.counts;
    try {
      fold.add(bytes.subarray(window.at, at));
    } catch (error) {
      if (!(error instanceof HtabFormatError)) throw error;
      const { byteOffset, recordIndex, ptex } = error;
      cursor.records = recordIndex;
      throw cursor.refusal('the table has an invalid record', {
        byteOffset: cursor.offset + byteOffset - folded,
        ...(ptex !== undefined && { ptex }),
        cause: error,
      });
    }
    cursor.records = fold.records;
    window.advance(at - window.at);
  }

  #longRecord(byteOffset: number, ptex: number, valid: number): void {
    const message = `a record has ${valid} valid entries: QEMU reads it onto the stack of a coroutine, which is safe up to ${SAFE_RUN}`;
    this.#findings.add('long-record', message, { byteOffset, ptex });
  }

  #outOfRange(byteOffset: number, ptex: number, end: number, order: number): void {
    const last = 2 ** (order - 4) - 1;
    if (end >= MAX_INDEX) {
      const message = `a record from entry ${ptex} ends beyond 32 bits: QEMU's check of the range wraps, and it crashes`;
      this.#findings.add('index-wraps', message, { byteOffset, ptex });
      return;
    }
    const needed = Math.ceil(Math.log2(end)) + 4;
    this.#findings.add(
      'out-of-range',
      `a record ends at entry ${end - 1}, beyond the last entry ${last}: QEMU refuses the stream. ` +
        `A table of order ${needed} would hold it: the guest may have resized its table while it migrated`,
      { byteOffset, ptex },
    );
  }
}
