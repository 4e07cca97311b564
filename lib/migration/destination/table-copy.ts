import type { PassCounts } from '../../records/pass-counter.js';
import { TableFold } from '../../records/table-fold.js';
import { tryBriefly } from '../../base/time.js';
import { forEachValid } from '../../hpt/entries.js';
import { HPTE_V_BOLTED } from '../../hpt/hpte-bits.js';
import type { HptTable } from '../../hpt/table.js';
import { swapBigEndian } from '../../hpt/byte-order.js';
import { ReadBack } from '../../io/read-back.js';
import { writeExplained } from '../../io/refusal.js';
import type { HtabHandle } from '../../vm/contract.js';
import type { Target } from './target.js';
import type { EntryRules } from '../compatibility.js';
import { limitError, migrationError } from '../errors.js';

/** What a table must be to be taken here, and whether it is read back. */
export interface CopyRules {
  /** log2 of the bytes of the only table that is taken. */
  readonly expectedOrder: number | undefined;
  /** log2 of the bytes of the largest. */
  readonly maxOrder: number;
  readonly entries: EntryRules;
  /** Read the table back and compare it, after every pass. */
  readonly readBack: boolean;
  /** Fewest valid, and bolted, entries of a table whose first pass is complete. */
  readonly minEntries: number;
  readonly minBoltedEntries: number;
}

interface OpenTable {
  readonly handle: HtabHandle;
  /** What the records are folded into. */
  readonly table: HptTable;
  readonly readBack: ReadBack | undefined;
}

const BOLTED_WORD = swapBigEndian(HPTE_V_BOLTED);

/** The table growing at the destination: in the target VM and here, as the fold of all records. */
export class TableCopy {
  readonly order: number;
  /** Record bytes applied. */
  bytes = 0;
  readonly #target: Target;
  readonly #rules: CopyRules;
  readonly #handle: HtabHandle;
  readonly #fold: TableFold;
  readonly #readBack: ReadBack | undefined;

  /**
   * Gives the target an empty table.
   *
   * @param emptyTable makes the table that the records are folded into here
   * @throws HtabSystemError if the target cannot have one of this order, or has a vcpu running (EBUSY)
   */
  static async begin(
    target: Target,
    order: number,
    rules: CopyRules,
    emptyTable: (order: number) => HptTable,
  ): Promise<TableCopy> {
    const handle = await target.begin(order);
    try {
      const table = emptyTable(order);
      // Before the first write: what is written is a change to this reader.
      const readBack = rules.readBack ? new ReadBack(await target.openRead(order), table) : undefined;
      return new TableCopy(target, { handle, table, readBack }, rules);
    } catch (error) {
      await tryBriefly(() => target.release(handle));
      throw error;
    }
  }

  private constructor(target: Target, { handle, table, readBack }: OpenTable, rules: CopyRules) {
    this.order = table.order;
    this.#target = target;
    this.#handle = handle;
    this.#fold = new TableFold(table, (found) => migrationError(found));
    this.#rules = rules;
    this.#readBack = readBack;
  }

  /** What the target's table must hold. */
  get table(): HptTable {
    return this.#fold.table;
  }

  /** Complete passes. */
  get passes(): number {
    return this.#fold.passes;
  }

  /** Of this pass, what has been applied. */
  get counts(): PassCounts {
    return this.#fold.counts;
  }

  beginPass(): void {
    this.#fold.beginPass(this.#rules.entries.cursor(this.order));
  }

  /**
   * Applies whole records of this pass.
   *
   * @throws HtabFormatError for bytes that are not whole records, or not what a kernel gives: none of them is written then
   * @throws HtabError `ERR_HTAB_MIGRATION` for an entry that this host cannot hold: none of them is written then
   * @throws HtabSystemError for an entry that the target refuses, with its ptex and the likely cause
   */
  async apply(records: Uint8Array): Promise<void> {
    this.#fold.add(records);
    await writeExplained(this.#handle, records);
    this.bytes += records.length;
  }

  /**
   * Ends a pass: the first one must look like a whole table, and every one is read back.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for what no table of a guest that has run can be
   * @throws HtabError `ERR_HTAB_VERIFY` if the target has not kept what was written
   */
  async endPass(): Promise<void> {
    this.#fold.endPass();
    if (this.passes === 1) this.#checkPlausible();
    await this.#readBack?.check();
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
    const { validCount } = this.table;
    const { minEntries, minBoltedEntries } = this.#rules;
    if (validCount < minEntries) {
      throw limitError(
        'minEntries',
        `the source's table has ${validCount} valid entries; at least ${minEntries} are expected of a guest that has run`,
      );
    }
    const bolted = minBoltedEntries === 0 ? 0 : countBolted(this.table);
    if (bolted < minBoltedEntries) {
      throw limitError(
        'minBoltedEntries',
        `the source's table has ${bolted} bolted entries; at least ${minBoltedEntries} are expected`,
      );
    }
  }
}

function countBolted(table: HptTable): number {
  let bolted = 0;
  forEachValid(table, (_ptex, words, word) => {
    if ((words[word + 1]! & BOLTED_WORD) !== 0) bolted++;
  });
  return bolted;
}
