/** A stream's records, one at a time: valid entries from `index` on, then invalid ones. */
export interface RecordSource {
  /** ptex of the first entry. */
  readonly index: number;
  readonly validCount: number;
  readonly invalidCount: number;
  /** Memory that holds the valid entries' HPTEs, two doublewords each, in the byte order of the stream. */
  readonly longs: BigUint64Array;
  /** Where they begin, in 32-bit words. */
  readonly wordOffset: number;
  /** Goes to the next record; false if there is none. */
  next(): boolean;
}

/** What has been applied to a table. */
export interface RecordCounts {
  /** Records; one that comes in parts counts as often. */
  records: number;
  /** Entries stored. */
  validEntries: number;
  /** Entries made invalid, whether they had been valid or not. */
  invalidEntries: number;
}
