/** How far the passes over a table have come. */
export interface PassProgress {
  /** Number of the pass, from 1; of a migration, on this connection. */
  readonly pass: number;
  /** Whether the guest may run. */
  readonly live: boolean;
  /** Whether all of the pass is where it goes: in the file, or applied at the destination. */
  readonly complete: boolean;
  /** Part of the table this pass has walked over, 0..1. */
  readonly scanned: number;
  /** Entries this pass has found: valid ones, and from the second pass on removed ones too. */
  readonly entries: number;
  /** Record bytes of this pass. */
  readonly bytes: number;
  /** Rate at which this pass's bytes get to where they go. */
  readonly bytesPerSecond: number;
  /** Entries the last complete pass found changed; undefined before the second pass is complete. */
  readonly changingEntries: number | undefined;
}
