import { HtabError, HtabSystemError } from '../errors.js';
import type { RecordCursor } from '../format/cursor.js';
import { foldRecords } from '../format/fold.js';
import { digestTable } from '../hpt/digest.js';
import { HptTable } from '../hpt/table.js';
import { explainRefusal } from '../io/refusal.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import type { PassCounts } from './protocol.js';
import { checkAgainst } from './read-back.js';

/** The table growing at the destination: in the target VM and, as the fold of all records, here beside it. */
export class TableCopy {
  readonly order: number;
  /** Complete passes. */
  passes = 0;
  /** Record bytes applied. */
  bytes = 0;
  readonly #target: HtabVm;
  readonly #handle: HtabHandle;
  readonly #fold: HptTable;

  /**
   * Gives the target an empty table.
   *
   * @throws HtabSystemError if the target cannot have one of this order, or has a vcpu running (EBUSY)
   */
  static async begin(target: HtabVm, order: number): Promise<TableCopy> {
    await target.allocateHpt(order);
    return new TableCopy(target, order, await target.openHtab({ access: 'write' }));
  }

  private constructor(target: HtabVm, order: number, handle: HtabHandle) {
    this.#target = target;
    this.#handle = handle;
    this.#fold = new HptTable(order);
    this.order = order;
  }

  get validEntries(): number {
    return this.#fold.validCount;
  }

  /**
   * Applies whole records.
   *
   * @param cursor of the pass they belong to
   * @throws HtabFormatError for bytes that are not whole records, or not what a kernel gives: none of them is written then
   * @throws HtabSystemError for an entry that the target refuses, with its ptex and the likely cause
   */
  async apply(records: Uint8Array, cursor: RecordCursor): Promise<PassCounts> {
    cursor.push(records);
    const { validEntries, invalidEntries } = foldRecords(cursor, this.#fold);
    cursor.finish();
    try {
      await this.#handle.writeRecords(records);
    } catch (error) {
      throw error instanceof HtabSystemError ? await explainRefusal(this.#handle, records, error) : error;
    }
    this.bytes += records.length;
    return { validEntries, invalidEntries, bytes: records.length };
  }

  /**
   * Compares with what the source says it sent, and the target's own table with both.
   *
   * @returns the digest they share
   * @throws HtabError `ERR_HTAB_VERIFY` if any of the three differs
   */
  async verify(sent: { readonly digest: string; readonly validEntries: number }): Promise<string> {
    await this.#handle.close();
    const digest = digestTable(this.#fold);
    if (digest !== sent.digest || this.#fold.validCount !== sent.validEntries) {
      throw new HtabError(
        'ERR_HTAB_VERIFY',
        `what has arrived is not what was sent: ${this.#fold.validCount} valid entries with digest ${digest}, ` +
          `and there should be ${sent.validEntries} with digest ${sent.digest}`,
      );
    }
    await checkAgainst(this.#fold, this.#target);
    return digest;
  }

  /** Throws the copy away: the target's table is empty afterwards. */
  async discard(): Promise<void> {
    await this.#handle.close();
    await this.#target.allocateHpt(this.order);
  }
}
