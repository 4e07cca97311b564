import type { PassCounts } from '../io/pass-progress.js';

/** One pass over the table as it went. */
export interface PassReport extends PassCounts {
  /** Number of the pass on this connection, from 1. */
  readonly pass: number;
  /** Whether the guest ran meanwhile. */
  readonly live: boolean;
  /**
   * Entries found changed since the pass before; undefined where the pass cannot tell: it gave the whole table, or the
   * rest of one that a broken connection had cut short.
   */
  readonly changedEntries: number | undefined;
  /** Time from its first read until the destination had applied all of it. */
  readonly durationMs: number;
  /** Of that, time spent waiting for the table to be read. In a pass that finds little, the time of a clean scan. */
  readonly readMs: number;
  /** Of that, time let pass to keep to `bytesPerSecond`. */
  readonly idleMs: number;
  /** Of that, time from the last record applied until the destination had confirmed the pass, its read-back included. */
  readonly confirmMs: number;
}

/**
 * What to do when the passes allowed have been made and the stop time is still too long: `stop` the guest all the same;
 * `throttle` it, step by step, and give up if that is not enough; or `give-up`, and it runs on here.
 */
export type NotConverging = 'stop' | 'throttle' | 'give-up';

/** When to stop the guest and send the rest. */
export interface PrecopyLimits {
  /** Longest time the guest shall stand still, in ms, 0..2^31 - 1; default 300. */
  readonly downtimeMs: number;
  /** Passes made at most while the guest runs, 0..2^31 - 1; default 16. With 0 there is nothing to predict from. */
  readonly maxPasses: number;
  /** The guest is stopped only after a pass that found no more entries changed than this, 0..2^32; default 2^32. */
  readonly maxChangedEntries: number;
  /** What to do when `maxPasses` were made and the guest would still stand for longer than `downtimeMs`; default `stop`. */
  readonly whenNotConverging: NotConverging;
  /** Times the guest is slowed down at most, each followed by one more pass, 0..2^31 - 1; default 8. */
  readonly maxThrottleSteps: number;
}

/**
 * How long the guest would stand still if it were stopped after these passes: two scans, one that takes what has changed
 * and one that finds nothing more, each confirmed by the destination; and the time to send, at the rate at which the
 * destination has applied so far, what changes while one pass is made.
 *
 * The time that `pause` itself takes is not in it.
 *
 * @returns ms; undefined before a pass has told what changes
 */
export function predictStopMs(passes: readonly PassReport[]): number | undefined {
  const last = passes.at(-1);
  const before = passes.at(-2);
  if (last?.changedEntries === undefined || before === undefined) return undefined;
  const telling = passes.filter(({ changedEntries }) => changedEntries !== undefined);
  const scanMs = Math.min(...telling.map(({ readMs }) => readMs));
  const confirmMs = Math.min(...telling.map((pass) => pass.confirmMs));
  // What the last pass found had changed while the one before it was made.
  const remainingBytes = last.bytes * (before.durationMs === 0 ? 1 : last.durationMs / before.durationMs);
  return 2 * (scanMs + confirmMs) + remainingBytes * msPerByte(passes);
}

/** Time to have a byte applied, over all passes: the large ones count most, and tell best. */
function msPerByte(passes: readonly PassReport[]): number {
  const bytes = passes.reduce((sum, pass) => sum + pass.bytes, 0);
  const ms = passes.reduce(
    (sum, { durationMs, readMs, idleMs, confirmMs }) =>
      sum + Math.max(0, durationMs - readMs - idleMs - confirmMs),
    0,
  );
  return bytes === 0 ? 0 : ms / bytes;
}

export type NextStep = 'pass' | 'pause' | 'throttle' | 'give-up';

/**
 * What to do after these passes, made while the guest ran.
 *
 * @param throttleSteps times the guest has been slowed down
 */
export function nextStep(
  passes: readonly PassReport[],
  limits: PrecopyLimits,
  throttleSteps: number,
): NextStep {
  const changed = passes.at(-1)?.changedEntries ?? Infinity;
  const predicted = predictStopMs(passes) ?? Infinity;
  if (changed <= limits.maxChangedEntries && predicted <= limits.downtimeMs) return 'pause';
  if (passes.length < limits.maxPasses) return 'pass';
  switch (limits.whenNotConverging) {
    case 'stop':
      return 'pause';
    case 'give-up':
      return 'give-up';
    case 'throttle':
      return throttleSteps < limits.maxThrottleSteps ? 'throttle' : 'give-up';
  }
}
