import { HptTable } from '../../hpt/table.js';
import { ChangeFold, type TableChanges } from '../../inspect/change-fold.js';
import type { OpenFresh } from '../../io/fresh-look.js';
import { incompletePassError, replacedTableError } from '../../io/other-table.js';
import { HptReader } from '../../io/reader.js';
import { checkNamed } from '../../io/recheck.js';
import { seemsReplaced } from '../../io/seems-replaced.js';
import { isVm } from '../../io/vm-or-handle.js';
import type { HtabVm } from '../../vm/contract.js';
import type { HostModel } from '../../vm/host.js';
import { openForReading, type OpenForReading } from './open.js';
import type { TableOptions } from './place.js';

/** Parts of the table that changes are counted by. */
export const CHANGE_CELLS = 64;

/** One pass over a guest's table. */
export interface TablePass {
  /** Its number, from 1 on; the first gives everything. */
  readonly pass: number;
  readonly validEntries: number;
  readonly durationMs: number;
  readonly changes: TableChanges;
}

/** How far a pass has come. */
export interface ReadProgress {
  /** Part of the table, 0..1. */
  readonly scanned: number;
  /** Valid entries so far. */
  readonly entries: number;
}

/** The table of a guest that may run, read in passes. It is the only reader: each takes marks of change from the others. */
export class WatchedTable {
  readonly name: string;
  /** Processor of the host, where it is known. */
  readonly host: HostModel | undefined;
  /** As the passes so far give it. */
  readonly table: HptTable;
  readonly #source: OpenForReading;
  readonly #reader: HptReader;
  readonly #fold: ChangeFold;

  /**
   * @throws HtabStateError `busy` for an emulated VM whose table is being read
   * @throws UsageError, HtabError, the signal's reason as {@link openForReading}
   */
  static async open(options: TableOptions, signal: AbortSignal): Promise<WatchedTable> {
    const source = await openForReading(options, undefined, signal);
    try {
      const { table, order } = source;
      const reader = isVm(table)
        ? await HptReader.open(table, { order })
        : new HptReader(table.handle, { order });
      return new WatchedTable(source, reader);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  private constructor(source: OpenForReading, reader: HptReader) {
    this.#source = source;
    this.#reader = reader;
    this.name = source.name;
    this.host = source.host;
    this.table = new HptTable(source.order);
    this.#fold = new ChangeFold(this.table, CHANGE_CELLS, incompletePassError);
  }

  /** Whether it shows if the guest is reset, resizes its table or goes to radix: a descriptor alone does not. */
  get isRechecked(): boolean {
    return this.#fresh() !== undefined;
  }

  /**
   * Reads all that has changed since the last pass, and the first time everything.
   *
   * @throws HtabStateError `replaced`, `order-changed` if the table is another one meanwhile
   * @throws HtabUnavailableError `no-table` if there is none
   * @throws HtabError as `HptReader`; the signal's reason
   */
  async pass(signal: AbortSignal, onProgress?: (progress: ReadProgress) => void): Promise<TablePass> {
    const begun = performance.now();
    const isFirst = this.#fold.passes === 0;
    await this.#read(signal, onProgress);
    const fresh = this.#fresh();
    if (fresh !== undefined) {
      if (isFirst) await checkNamed(this.table.order, fresh);
      else await this.#checkSame(fresh, signal);
    }
    return {
      pass: this.#fold.passes,
      validEntries: this.table.validCount,
      durationMs: performance.now() - begun,
      changes: this.#fold.takeChanges(),
    };
  }

  /** Closes everything; the guest stays as it is. */
  async close(): Promise<void> {
    try {
      await this.#reader.close();
    } finally {
      await this.#source.close();
    }
  }

  async #read(signal: AbortSignal, onProgress?: (progress: ReadProgress) => void): Promise<void> {
    const fold = this.#fold;
    fold.beginPass();
    for await (const records of this.#reader.pass({ signal })) {
      fold.add(records);
      onProgress?.({ scanned: fold.reached / this.table.entryCount, entries: fold.counts.validEntries });
    }
    fold.endPass();
  }

  /** A busy guest's table may seem replaced, but hardly in two looks with a pass between them. */
  async #checkSame(fresh: HtabVm | OpenFresh, signal: AbortSignal): Promise<void> {
    if (!(await this.#seemsReplaced(fresh, signal))) return;
    await this.#read(signal);
    if (await this.#seemsReplaced(fresh, signal)) throw replacedTableError();
  }

  #seemsReplaced(fresh: HtabVm | OpenFresh, signal: AbortSignal): Promise<boolean> {
    const take = (records: Uint8Array): void => {
      this.#fold.beginPass();
      this.#fold.add(records);
    };
    return seemsReplaced(this.table, fresh, take, signal);
  }

  #fresh(): HtabVm | OpenFresh | undefined {
    const { table } = this.#source;
    return isVm(table) ? table : table.reopen;
  }
}
