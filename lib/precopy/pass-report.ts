import type { PassCounts } from '../records/pass-counter.js';

/** One pass over the table as it went. */
export interface PassReport extends PassCounts {
  /** Number of the pass on this connection, from 1. */
  readonly pass: number;
  /** Whether the guest ran meanwhile. */
  readonly live: boolean;
  /**
   * Entries found changed since the pass before; undefined where the pass does not show it: it gave the whole table, or the
   * rest of one that a broken connection had cut short.
   */
  readonly changedEntries: number | undefined;
  /**
   * Time waited since the pass before had ended, because the rest of the guest was far from done; 0: the pass followed at
   * once. What changed meanwhile is in `changedEntries`, each entry once, however often it changed.
   */
  readonly waitedMs: number;
  /** Time from its first read until the destination had applied all of it. */
  readonly durationMs: number;
  /** Of that, time spent waiting for the table to be read. In a pass that finds little, the time of a clean scan. */
  readonly readMs: number;
  /** Of that, time waited to keep to `bytesPerSecond`. */
  readonly idleMs: number;
  /** Of that, time from the last record applied until the destination had confirmed the pass, its read-back included. */
  readonly confirmMs: number;
}

/** Passes after a wait whose reports are kept: a rest may be far for days. */
const KEPT_WAITED = 64;

/** Adds a report; of those of passes after a wait the oldest is dropped once there are too many. */
export function keepReport(reports: PassReport[], report: PassReport): void {
  reports.push(report);
  const isWaited = ({ waitedMs }: PassReport): boolean => waitedMs > 0;
  if (!isWaited(report) || reports.filter(isWaited).length <= KEPT_WAITED) return;
  reports.splice(reports.findIndex(isWaited), 1);
}
