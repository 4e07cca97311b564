import { PassCounter } from '../../records/pass-counter.js';
import { TableFold } from '../../records/table-fold.js';
import { RecordCursor } from '../../records/cursor.js';
import { fillRecords, type PassState } from '../../records/fill-records.js';
import { differenceIn } from '../../hpt/record-difference.js';
import { HptTable } from '../../hpt/table.js';
import { incompletePassError } from '../../io/other-table.js';
import type { HptReader } from '../../io/reader.js';
import { recheckTable } from '../../io/recheck.js';
import { seemsReplaced } from '../../io/seems-replaced.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { Source } from './source.js';
import type { EntryRules } from '../compatibility.js';

/** Whole records, as one frame carries them; valid until the next chunk is asked for. */
export interface TableChunk {
  readonly records: Uint8Array;
  readonly validEntries: number;
  readonly invalidEntries: number;
  /** ptex after the last of them. */
  readonly end: number;
}

/**
 * A running guest's table, and what is known of it. Reading takes changes away from the kernel, so records are folded
 * before anything else can fail: a connection may break at any moment, and the fold holds all that was sent over it.
 */
export class LiveTable {
  readonly order: number;
  /** The fold of all that was read. */
  readonly known: HptTable;
  readonly #access: Source;
  readonly #reader: HptReader;
  readonly #frameBytes: number;
  readonly #fold: TableFold;
  /** A pass was left before its end. */
  #cut = false;

  static async open(access: Source, frameBytes: number): Promise<LiveTable> {
    const order = access.order();
    // Before the reader is opened: memory for a large table may be missing, and an open reader would have to be closed.
    const known = new HptTable(order);
    return new LiveTable(access, await access.open(frameBytes), known, frameBytes);
  }

  private constructor(access: Source, reader: HptReader, known: HptTable, frameBytes: number) {
    this.#access = access;
    this.#reader = reader;
    this.#frameBytes = frameBytes;
    this.order = known.order;
    this.known = known;
    this.#fold = new TableFold(known, incompletePassError);
  }

  /** Whether anything has been read. */
  get isKnown(): boolean {
    return this.#fold.named > 0;
  }

  /** Whether what the next pass names has changed since the one before it. */
  get showsChanges(): boolean {
    return this.#reader.passes > 0 && !this.#cut;
  }

  /** Nothing had changed anywhere when the last read was made. */
  get quiescent(): boolean {
    return this.#reader.quiescent;
  }

  /**
   * The rest of the pass that the reader stands in; a whole one unless the last was left early.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for an entry that breaks the rules
   * @throws HtabUnavailableError, HtabStateError as `HptReader`; also for a first pass that does not name every entry of the
   *   table: of a radix guest there is nothing to read (kernel-abi.md 2.3), a descriptor that has been read from gives only
   *   changes, and the order can be wrong
   */
  async *pass(
    rules: EntryRules,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<TableChunk, void, undefined> {
    const fold = this.#fold;
    // The pass before was left at its last records.
    if (this.#reader.passes > fold.passes) fold.endPass();
    fold.beginPass(rules.cursor(this.order));
    this.#cut = true;
    for await (const records of this.#reader.pass({ signal })) {
      const { validEntries, invalidEntries } = fold.add(records);
      yield { records, validEntries, invalidEntries, end: fold.reached };
    }
    this.#cut = false;
    fold.endPass();
  }

  /**
   * All that is known of the table, as a first pass over it.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for an entry that breaks the rules
   */
  *passOfKnown(rules: EntryRules): Generator<TableChunk, void, undefined> {
    const state = { cursor: 0, firstPass: true, boltedOnly: false };
    const counter = new PassCounter(this.order, incompletePassError);
    counter.beginPass(rules.cursor(this.order));
    const buffer = new Uint8Array(this.#frameBytes);
    while (state.firstPass) yield this.#chunkOfKnown(state, buffer, counter);
    counter.endPass();
  }

  /** Entries that the destination is to get, and that no pass will name: a look has taken their marks. */
  get marked(): number {
    return this.known.dirty.count;
  }

  /** Marks the last entry, so that {@link passOfMarked} names one. */
  markOne(): void {
    this.known.dirty.add(this.known.entryCount - 1);
  }

  /** All entries that are marked, as they are known. */
  *passOfMarked(rules: EntryRules): Generator<TableChunk, void, undefined> {
    const state = { cursor: 0, firstPass: false, boltedOnly: false };
    const counter = new PassCounter(this.order, incompletePassError);
    counter.beginPass(rules.cursor(this.order));
    const buffer = new Uint8Array(this.#frameBytes);
    while (this.marked > 0) yield this.#chunkOfKnown(state, buffer, counter);
  }

  /**
   * Looks at the running guest's table through fresh descriptors, between two passes. What a look finds changed is kept,
   * and marked: no pass will name it.
   *
   * @returns whether it may be another table of the same order
   * @throws HtabUnavailableError, HtabStateError as `recheckTable`, for no table and for another order
   */
  async look(rules: EntryRules, signal: AbortSignal | undefined): Promise<boolean> {
    const { fresh } = this.#access;
    // To open a descriptor of an image is to scan all of it.
    if (fresh === undefined || (isVm(fresh) && fresh.backend === 'image')) return false;
    return seemsReplaced(this.known, fresh, (records) => this.#foldLook(records, rules), signal);
  }

  /** Folds what a look has read, before anything else can fail. */
  #foldLook(records: Uint8Array, rules: EntryRules): void {
    const { known, order } = this;
    const cursor = new RecordCursor({ order, ascending: true });
    cursor.push(records);
    while (cursor.next()) {
      const { index, validCount, invalidCount } = cursor;
      if (differenceIn(known, cursor) !== undefined) {
        known.dirty.addRange(index, index + validCount + invalidCount);
      }
    }
    this.#fold.beginPass(rules.cursor(order));
    this.#fold.add(records);
  }

  #chunkOfKnown(state: PassState, buffer: Uint8Array, counter: PassCounter): TableChunk {
    const records = buffer.subarray(0, fillRecords(this.known, state, buffer));
    const { validEntries, invalidEntries } = counter.add(records);
    return { records, validEntries, invalidEntries, end: counter.reached };
  }

  /**
   * Makes sure that the stopped guest's table still is the one that was read.
   *
   * @param whole compare every entry, not a sample
   * @returns false if there is no descriptor to look through: a table that has gone or was replaced looks quiet then
   * @throws as `recheckTable`
   */
  async recheck(whole: boolean, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#access.fresh === undefined) return false;
    await recheckTable(this.known, this.#access.fresh, { whole, signal });
    return true;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }
}
