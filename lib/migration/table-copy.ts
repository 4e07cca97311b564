import { HtabSystemError } from '../errors.js';
import type { RecordCursor } from '../format/cursor.js';
import { foldRecords } from '../format/fold.js';
import { createHash } from 'node:crypto';
import { forEachValid } from '../hpt/entries.js';
import { HPTE_V_BOLTED } from '../hpt/hpte.js';
import type { HptTable } from '../hpt/table.js';
import { swapBigEndian } from '../hpt/wire.js';
import { ReadBack } from '../io/read-back.js';
import { explainRefusal } from '../io/refusal.js';
import type { HtabHandle } from '../vm/contract.js';
import type { TargetAccess } from './endpoints.js';
import type { EntryRules } from './entry-rules.js';
import { migrationError, verifyError } from './failure.js';
import type { PassCounts } from '../io/pass-progress.js';

/** What the destination makes of a table beyond its records. */
export interface CopyRules {
  /** log2 of a table's bytes: the one that is due, and the most there may be. */
  readonly expectedOrder: number | undefined;
  readonly maxOrder: number;
  readonly entries: EntryRules;
  /** Read the table back and compare it, after every pass. */
  readonly readBack: boolean;
  /** Valid, and bolted, entries that a table has at least once its first pass is complete. */
  readonly minEntries: number;
  readonly minBoltedEntries: number;
}

const BOLTED_WORD = swapBigEndian(HPTE_V_BOLTED);

/** The table growing at the destination: in the target VM and, as the fold of all records, here beside it. */
export class TableCopy {
  readonly order: number;
  /** Complete passes. */
  passes = 0;
  /** Record bytes applied. */
  bytes = 0;
  readonly #target: TargetAccess;
  readonly #rules: CopyRules;
  readonly #handle: HtabHandle;
  readonly #fold: HptTable;
  readonly #readBack: ReadBack | undefined;
  readonly #records = createHash('sha256');
  /** Entries that the first pass has named so far. */
  #named = 0;

  /**
   * Gives the target an empty table.
   *
   * @param emptyFold makes what is kept of it here
   * @throws HtabError `ERR_HTAB_MIGRATION` for an order that the rules do not allow
   * @throws HtabSystemError if the target cannot have one of this order, or has a vcpu running (EBUSY)
   */
  static async begin(
    target: TargetAccess,
    order: number,
    rules: CopyRules,
    emptyFold: (order: number) => HptTable,
  ): Promise<TableCopy> {
    checkOrders(order, rules);
    const handle = await target.begin(order);
    try {
      const fold = emptyFold(order);
      // Before the first write: what is written is a change to this reader.
      const readBack = rules.readBack ? new ReadBack(await target.openRead(order), fold) : undefined;
      return new TableCopy(target, handle, fold, rules, readBack);
    } catch (error) {
      await target.release(handle).catch(() => undefined);
      throw error;
    }
  }

  private constructor(
    target: TargetAccess,
    handle: HtabHandle,
    fold: HptTable,
    rules: CopyRules,
    readBack: ReadBack | undefined,
  ) {
    this.order = fold.order;
    this.#target = target;
    this.#handle = handle;
    this.#fold = fold;
    this.#rules = rules;
    this.#readBack = readBack;
  }

  get validEntries(): number {
    return this.#fold.validCount;
  }

  /** What the target's table must hold. */
  get fold(): HptTable {
    return this.#fold;
  }

  /** For the records of one pass; refuses what this host cannot hold. */
  passCursor(): RecordCursor {
    return this.#rules.entries.cursor(this.order);
  }

  /**
   * Applies whole records.
   *
   * @param cursor of the pass they belong to, as {@link passCursor} gives it
   * @throws HtabFormatError for bytes that are not whole records, or not what a kernel gives: none of them is written then
   * @throws HtabError `ERR_HTAB_MIGRATION` for an entry that this host cannot hold: none of them is written then
   * @throws HtabSystemError for an entry that the target refuses, with its ptex and the likely cause
   */
  async apply(records: Uint8Array, cursor: RecordCursor): Promise<PassCounts> {
    cursor.push(records);
    const { validEntries, invalidEntries } = foldRecords(cursor, this.#fold);
    cursor.finish();
    this.#records.update(records);
    if (this.passes === 0) this.#named += validEntries + invalidEntries;
    try {
      await this.#handle.writeRecords(records);
    } catch (error) {
      throw error instanceof HtabSystemError ? await explainRefusal(this.#handle, records, error) : error;
    }
    this.bytes += records.length;
    return { validEntries, invalidEntries, bytes: records.length };
  }

  /**
   * Ends a pass: the first one must look like a whole table, and every one is read back.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for what no table of a guest that has run can be
   * @throws HtabError `ERR_HTAB_VERIFY` if the target has not kept what was written
   */
  async endPass(): Promise<void> {
    if (this.passes === 0) this.#checkPlausible();
    await this.#readBack?.check();
    this.passes++;
  }

  /**
   * Compares with what the source says it sent. Takes no longer for a large table: the guest stands still meanwhile.
   *
   * @returns the digest they share
   * @throws HtabError `ERR_HTAB_VERIFY` if they differ
   */
  verify(sent: { readonly digest: string; readonly validEntries: number }): string {
    const digest = this.#records.copy().digest('hex');
    if (digest === sent.digest && this.#fold.validCount === sent.validEntries) return digest;
    throw verifyError(
      `what has arrived is not what was sent: ${this.#fold.validCount} valid entries by records with digest ${digest}, ` +
        `and there should be ${sent.validEntries} by records with digest ${sent.digest}`,
    );
  }

  /** Lets go of the target; the table stays. What it holds does not depend on whether a descriptor can be closed. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#readBack?.close(), this.#target.release(this.#handle)]);
  }

  /** Throws the copy away: the target's table is empty afterwards. */
  async discard(): Promise<void> {
    await this.close();
    await this.#target.clear(this.order);
  }

  #checkPlausible(): void {
    const { entryCount, validCount } = this.#fold;
    const { minEntries, minBoltedEntries } = this.#rules;
    if (this.#named !== entryCount) {
      throw migrationError(`the first pass named ${this.#named} of the table's ${entryCount} entries`);
    }
    if (validCount < minEntries) {
      throw migrationError(
        `the source's table has ${validCount} valid entries, and that of a guest that has run has at least ${minEntries}; ` +
          'minEntries says how many are expected',
      );
    }
    const bolted = minBoltedEntries === 0 ? 0 : countBolted(this.#fold);
    if (bolted < minBoltedEntries) {
      throw migrationError(
        `the source's table has ${bolted} bolted entries; at least ${minBoltedEntries} were expected`,
      );
    }
  }
}

function checkOrders(order: number, { expectedOrder, maxOrder }: CopyRules): void {
  if (expectedOrder !== undefined && order !== expectedOrder) {
    throw migrationError(
      `the source's table has order ${order}, and one of order ${expectedOrder} is expected`,
    );
  }
  if (order > maxOrder) {
    throw migrationError(`the source's table has order ${order}; up to ${maxOrder} is taken (maxOrder)`);
  }
}

function countBolted(table: HptTable): number {
  let bolted = 0;
  forEachValid(table, (_ptex, words, word) => {
    if ((words[word + 1]! & BOLTED_WORD) !== 0) bolted++;
  });
  return bolted;
}
