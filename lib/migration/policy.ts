import type { PassCounts } from './protocol.js';

/** One pass over the table as it went. */
export interface PassReport extends PassCounts {
  /** Number of the pass, from 1. */
  readonly pass: number;
  /** Whether the guest ran meanwhile. */
  readonly live: boolean;
  /** Time from its first read until the destination had applied all of it. */
  readonly durationMs: number;
}

/** When to stop the guest and send the rest. */
export interface PrecopyLimits {
  /** Passes made at most while the guest runs; 0 stops it before the first. */
  readonly maxPasses: number;
  /** The guest is stopped after a pass that found no more entries changed than this. */
  readonly maxChangedEntries: number;
}

/**
 * Entries a pass found changed since the one before it.
 *
 * @returns undefined for the first pass, which gives every entry and so cannot tell
 */
export function changedEntries({ pass, validEntries, invalidEntries }: PassReport): number | undefined {
  return pass === 1 ? undefined : validEntries + invalidEntries;
}

/** Whether, after these live passes, the guest is to be stopped. */
export function shouldPause(passes: readonly PassReport[], limits: PrecopyLimits): boolean {
  if (passes.length >= limits.maxPasses) return true;
  const last = passes.at(-1);
  const changed = last === undefined ? undefined : changedEntries(last);
  return changed !== undefined && changed <= limits.maxChangedEntries;
}
