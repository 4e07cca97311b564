import { RecordCursor } from '../format/cursor.js';
import { foldRecords } from '../format/fold.js';
import { fillRecords } from '../format/pass.js';
import { HPTE_V_BOLTED } from '../hpt/hpte.js';
import { HptTable } from '../hpt/table.js';
import { checkAgainst, checkRecord } from '../io/read-back.js';
import type { HptReader } from '../io/reader.js';
import type { SourceAccess } from './endpoints.js';
import type { EntryRules } from './entry-rules.js';
import { migrationError } from './failure.js';

/** A read of this size names a handful of entries, and never walks over much of a sparse table. */
const SPOT_BYTES = 512;
/** Entries looked at to find one that is not bolted: the guest stands still meanwhile. */
const MAX_LOOKED = 1024;

/** Whole records, as one frame carries them. */
export interface TableChunk {
  readonly records: Uint8Array;
  readonly validEntries: number;
  readonly invalidEntries: number;
  /** ptex just behind the last of them. */
  readonly end: number;
}

/**
 * A running guest's table, and what is known of it: the fold of all that was read. Reading takes changes away from the
 * kernel, so what was read is folded before anything else can fail; then a connection may break at any moment, and the
 * fold stands for all that was sent over it.
 */
export class LiveTable {
  readonly order: number;
  readonly fold: HptTable;
  readonly #access: SourceAccess;
  readonly #reader: HptReader;
  readonly #frameBytes: number;
  /** Entries that the reader's first pass has named so far. */
  #named = 0;
  /** A pass was left before its end. */
  #cut = false;

  static async open(access: SourceAccess, frameBytes: number): Promise<LiveTable> {
    const order = access.order();
    // Before the reader is opened: for a large table there may not be the memory, and nobody would close it.
    const fold = new HptTable(order);
    return new LiveTable(access, await access.open(frameBytes), fold, frameBytes);
  }

  private constructor(access: SourceAccess, reader: HptReader, fold: HptTable, frameBytes: number) {
    this.#access = access;
    this.#reader = reader;
    this.#frameBytes = frameBytes;
    this.order = fold.order;
    this.fold = fold;
  }

  /** Whether anything has been read. */
  get isKnown(): boolean {
    return this.#named > 0;
  }

  /** Whether the next pass tells what has changed since the one before it. */
  get tells(): boolean {
    return this.#reader.passes > 0 && !this.#cut;
  }

  /** Nothing had changed anywhere when the last read was made. */
  get quiescent(): boolean {
    return this.#reader.quiescent;
  }

  /**
   * The rest of the pass that the reader stands in; a whole one unless the last was left early.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for an entry that breaks the rules, and for a first pass that does not name
   *   every entry of the table: of a radix guest there is nothing to read (kernel-abi.md 2.3), and a descriptor that has
   *   been read from gives only changes
   * @throws HtabStateError as `HptReader`
   */
  async *pass(
    rules: EntryRules,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<TableChunk, void, undefined> {
    const isFirst = this.#reader.passes === 0;
    const cursor = rules.cursor(this.order);
    this.#cut = true;
    for await (const records of this.#reader.pass({ signal })) {
      cursor.push(records);
      const { validEntries, invalidEntries } = foldRecords(cursor, this.fold);
      if (isFirst) this.#named += validEntries + invalidEntries;
      yield {
        records,
        validEntries,
        invalidEntries,
        end: cursor.index + cursor.validCount + cursor.invalidCount,
      };
    }
    cursor.finish();
    this.#cut = false;
    if (isFirst && this.#named !== this.fold.entryCount) {
      throw migrationError(
        `the first pass named ${this.#named} of the table's ${this.fold.entryCount} entries: the guest uses radix, or ` +
          'the descriptor has been read from before',
      );
    }
  }

  /**
   * All that is known of the table, as a first pass over it.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for an entry that breaks the rules
   */
  *known(rules: EntryRules): Generator<TableChunk, void, undefined> {
    const state = { cursor: 0, firstPass: true, boltedOnly: false };
    const cursor = rules.cursor(this.order);
    while (state.firstPass) {
      const buffer = new Uint8Array(this.#frameBytes);
      const records = buffer.subarray(0, fillRecords(this.fold, state, buffer));
      cursor.push(records);
      let validEntries = 0;
      let invalidEntries = 0;
      while (cursor.next()) {
        validEntries += cursor.validCount;
        invalidEntries += cursor.invalidCount;
      }
      const end = cursor.index + cursor.validCount + cursor.invalidCount;
      yield { records, validEntries, invalidEntries, end };
    }
  }

  /**
   * Looks at a few entries of the stopped guest's table through a descriptor of its own. A table that was replaced by one
   * of the same order shows no other sign, and has lost at least what was not bolted (kernel-abi.md 5.3).
   *
   * @throws HtabError `ERR_HTAB_VERIFY` if a change was never reported
   */
  async spotCheck(): Promise<void> {
    if (!this.#access.canReopen) return;
    const handle = await this.#access.openBeside(firstUnbolted(this.fold));
    try {
      const buffer = new Uint8Array(SPOT_BYTES);
      const cursor = new RecordCursor({ order: this.order, ascending: true });
      cursor.push(buffer.subarray(0, await handle.read(buffer)));
      while (cursor.next()) checkRecord(this.fold, cursor);
    } finally {
      await handle.close();
    }
  }

  /**
   * Reads the whole table once more through a descriptor of its own, and compares it with what is known.
   *
   * @throws HtabError `ERR_HTAB_VERIFY` if a change was never reported: another reader has taken it
   */
  async recheck(signal: AbortSignal | undefined): Promise<void> {
    const handle = await this.#access.openBeside(0);
    await checkAgainst(this.fold, handle, signal);
  }

  close(): Promise<void> {
    return this.#reader.close();
  }
}

/** The first valid entry that a resize would not have kept; 0 if there is none among the first. */
function firstUnbolted(table: HptTable): number {
  const entry = new Uint32Array(4);
  let ptex = table.valid.next(0);
  for (let looked = 0; looked < MAX_LOOKED && ptex < table.entryCount; looked++) {
    if (table.load(ptex, entry) && (entry[1]! & HPTE_V_BOLTED) === 0) return ptex;
    ptex = table.valid.next(ptex + 1);
  }
  return 0;
}
