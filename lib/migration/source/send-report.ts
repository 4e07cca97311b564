import type { PassReport } from '../../precopy/pass-report.js';

/** A migration that has gone well, as the source saw it. */
export interface SendReport {
  readonly migrationId: string;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** Valid entries in the table that was moved. */
  readonly validEntries: number;
  /** Of the table, as `digestTable`; the destination's is the same. Takes as long as the table is large, the first time. */
  digest(): string;
  /** Passes on the last connection. */
  readonly passes: readonly PassReport[];
  /** Connections made or tried. */
  readonly attempts: number;
  /** From the call of `pause` until the source knew that the guest is the destination's; undefined if it was already paused. */
  readonly stopMs: number | undefined;
  /** What this was expected to be, `pause` itself aside; undefined if too few passes were made to tell. */
  readonly predictedStopMs: number | undefined;
  /** How the source came to know: the destination said so, or had to be asked over another connection. */
  readonly acknowledged: 'directly' | 'asked';
  /**
   * Whether the stopped guest's table was looked at through fresh descriptors and agreed with what was sent. False for a
   * descriptor without `reopen`: it does not show whether the guest went to radix, was reset, or had its table resized.
   */
  readonly sourceRechecked: boolean;
}
