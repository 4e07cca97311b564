import { HtabError } from '../../base/errors.js';
import type { JournalEntry } from './journal.js';

/** A line of a journal that does not tell what was written. */
export interface JournalFault {
  /**
   * `damaged`: bytes of it have changed, and what it said may have been acted upon. `cut`: it has no end; its write was
   * never finished, or the file has lost its end.
   */
  readonly kind: 'damaged' | 'cut';
  /** Number of the line, from 1. */
  readonly line: number;
  /** Offset of the line's first byte in the file. */
  readonly byteOffset: number;
}

/**
 * `ERR_HTAB_IN_DOUBT`: lines of a journal are damaged or cut, and what was asked for may stand in them. It is answered
 * only as far as the other lines prove it.
 */
export class HtabJournalError extends HtabError {
  /** Lines that may hold what was asked for; of many damaged ones, the first eight. */
  readonly faults: readonly JournalFault[];
  /** From `entries()`: the entries of the side that no faulty line can have changed. */
  readonly proven: readonly JournalEntry[];
  /** From `entries()`: the entries of the side that a faulty line may have decided. */
  readonly unproven: readonly JournalEntry[];

  constructor(
    message: string,
    faults: readonly JournalFault[],
    proven: readonly JournalEntry[] = [],
    unproven: readonly JournalEntry[] = [],
  ) {
    super('ERR_HTAB_IN_DOUBT', message);
    this.faults = faults;
    this.proven = proven;
    this.unproven = unproven;
  }
}
Object.defineProperty(HtabJournalError.prototype, 'name', { value: 'HtabJournalError' });
