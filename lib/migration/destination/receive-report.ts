/** A migration that has gone well, as the destination saw it. */
export interface ReceiveReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table. */
  readonly validEntries: number;
  /**
   * Of the table, as `digestTable`; with `readBack`, the target's own has been compared with it. Takes as long as the
   * table is large, the first time: let the guest run before.
   */
  digest(): string;
  /** Passes on the last connection. */
  readonly passes: number;
  /** Record bytes applied on the last connection. */
  readonly bytes: number;
  /** Connections the source has used. */
  readonly attempts: number;
}

/** How far the destination has come. */
export interface ReceiveProgress {
  /** Number of the pass on this connection, from 1. */
  readonly pass: number;
  /** Record bytes applied, over all passes on this connection. */
  readonly bytes: number;
  /** Valid entries in the table so far. */
  readonly validEntries: number;
}
