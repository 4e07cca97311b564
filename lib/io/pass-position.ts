import { entryCount } from '../hpt/geometry.js';
import { chunkExtent } from './chunk.js';
import { noTableError } from '../base/no-table.js';
import { lostChangesError, otherOrderError } from './other-table.js';

/** A read that leaves more room than this has reached the table's end (kernel-abi.md 2.4). */
const RECORD_FLOOR = 24;

/**
 * What a read gave to the pass under way.
 *
 * - `part`: more of the pass may follow
 * - `end`: the pass ends with it; it may be empty
 * - `next`: the pass had ended before it, and it belongs to the next one
 */
export type PassStep = 'part' | 'end' | 'next';

/** Where in the table a descriptor stands: from one read's bytes to the next it finds where passes end. */
export class PassPosition {
  readonly #order: number | undefined;
  readonly #entryCount: number | undefined;
  /** ptex at which the next read begins; undefined while a descriptor given to us has not wrapped. */
  #ptex: number | undefined;
  /** The first read of a fresh descriptor names every entry of a table, valid or not, if there is one. */
  #expectsTable: boolean;
  #quiescent = false;
  #passes = 0;

  /** @param ptex at which the first read begins; undefined if it is not known */
  constructor(order: number | undefined, ptex?: number) {
    this.#order = order;
    this.#entryCount = order === undefined ? undefined : entryCount(order);
    this.#ptex = ptex;
    this.#expectsTable = ptex === 0;
  }

  /** True if the last read began at index 0 and found nothing. */
  get quiescent(): boolean {
    return this.#quiescent;
  }

  /** Passes that have ended. */
  get passes(): number {
    return this.#passes;
  }

  /**
   * Takes note of a read. One that was the `next` pass's is given again when that pass begins.
   *
   * @param length bytes that it gave
   * @throws HtabUnavailableError `no-table`, HtabStateError `lost`, `order-changed` or `replaced`
   */
  take(buffer: Uint8Array, length: number): PassStep {
    if (length === 0) {
      if (this.#expectsTable) throw noTableError();
      this.#quiescent = this.#ptex === 0;
      return this.#end('end');
    }
    this.#expectsTable = false;
    const { first, end } = this.#extentOf(buffer, length);
    // The last read had ended at the table's end.
    if (this.#ptex !== undefined && first < this.#ptex) return this.#end('next');
    this.#quiescent = false;
    if (length + RECORD_FLOOR < buffer.length || end === this.#entryCount) return this.#end('end');
    this.#ptex = end;
    return 'part';
  }

  #end(step: 'end' | 'next'): PassStep {
    this.#ptex = 0;
    this.#passes++;
    return step;
  }

  #extentOf(buffer: Uint8Array, length: number): { first: number; end: number } {
    let extent;
    try {
      extent = chunkExtent(buffer, length);
    } catch (cause) {
      throw lostChangesError(cause);
    }
    const { first, end } = extent;
    if (this.#entryCount === undefined) return extent;
    if (end > this.#entryCount) {
      const sign = `a record ends at ptex ${end} of a table with ${this.#entryCount} entries`;
      throw otherOrderError(this.#order, sign);
    }
    if (this.#ptex !== undefined && first < this.#ptex) {
      throw otherOrderError(
        this.#order,
        `a record at ptex ${first} follows ptex ${this.#ptex} within one pass`,
      );
    }
    return extent;
  }
}
