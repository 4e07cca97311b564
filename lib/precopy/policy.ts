import type { OptionTable } from '../base/options.js';
import { MAX_MS } from '../base/time.js';
import type { PassReport } from './pass-report.js';

/** Limit of whatever is counted. */
export const MAX_COUNT = 2 ** 31 - 1;

/**
 * What to do after the last pass allowed, if the predicted stop is still too long: `stop` the guest all the same;
 * `throttle` it, step by step, and give up if that is not enough; or `give-up`, and the guest runs on here.
 */
export type NotConverging = 'stop' | 'throttle' | 'give-up';

/** When to stop the guest and send the rest. */
export interface PrecopyLimits {
  /** Longest stop of the guest to aim at, in ms, 0..2^31 - 1; default 300. */
  readonly downtimeMs: number;
  /**
   * Most passes while the guest runs, 0..2^31 - 1; default 16. With 0 there is nothing to predict from. Passes also end
   * after 512 in a row that found nothing. Passes after which a `rest` was far from done do not count.
   */
  readonly maxPasses: number;
  /** The guest is stopped only after a pass that found no more entries changed than this, 0..2^32; default 2^32. */
  readonly maxChangedEntries: number;
  /** What to do after `maxPasses` passes, if the predicted stop is still longer than `downtimeMs`; default `stop`. */
  readonly whenNotConverging: NotConverging;
  /** Most times the guest is slowed down, each followed by one more pass, 0..2^31 - 1; default 8. */
  readonly maxThrottleSteps: number;
}

export const PRECOPY_OPTIONS = {
  downtimeMs: { min: 0, max: MAX_MS, default: 300, unit: 'ms', doc: 'longest stop of the guest to aim at' },
  maxPasses: { min: 0, max: MAX_COUNT, default: 16, unit: 'passes', doc: 'most passes while the guest runs' },
  maxChangedEntries: {
    min: 0,
    max: 2 ** 32,
    default: 2 ** 32,
    unit: 'entries',
    doc: 'most entries changed in the last pass before the guest is stopped',
  },
  whenNotConverging: {
    choices: ['stop', 'throttle', 'give-up'],
    default: 'stop',
    doc: 'what to do after these passes, if the stop would still be longer',
  },
  maxThrottleSteps: {
    min: 0,
    max: MAX_COUNT,
    default: 8,
    unit: 'steps',
    doc: 'most times the guest is slowed down, each followed by one more pass',
  },
} as const satisfies OptionTable<PrecopyLimits>;

/**
 * How long the guest would stand still if it were stopped after these passes: two scans, one that takes what has changed
 * and one that finds nothing more, each confirmed by the destination; and the time to send, at the rate at which the
 * destination has applied so far, what changes while one pass is made.
 *
 * The time that `pause` itself takes is not in it, and nothing of the guest but its table.
 *
 * What the last pass found after a wait had changed in all that time. An entry that changes often was found once, so that
 * all of it may change again within one pass: it is not scaled down.
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
  // What the last pass found had changed since the one before it began.
  const changedMs = before.durationMs + last.waitedMs;
  const scaled = changedMs === 0 ? 1 : last.durationMs / changedMs;
  const remainingBytes = last.bytes * (last.waitedMs > 0 ? Math.max(1, scaled) : scaled);
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

/** How far a migration has come while the guest ran. */
export interface Progress {
  readonly passes: readonly PassReport[];
  /** Those of them that could have led to the stop: after them, the rest of the guest was near. */
  readonly counted: readonly PassReport[];
  /** What the rest of the guest would need of the stop, in ms. */
  readonly restMs: number;
  /** Times the guest has been slowed down. */
  readonly throttleSteps: number;
}

/** What to do after these passes. */
export function nextStep(
  { passes, counted, restMs, throttleSteps }: Progress,
  limits: PrecopyLimits,
): NextStep {
  const changed = passes.at(-1)?.changedEntries ?? Infinity;
  const predicted = (predictStopMs(passes) ?? Infinity) + restMs;
  if (changed <= limits.maxChangedEntries && predicted <= limits.downtimeMs) return 'pause';
  const idle = isIdle(counted);
  if (counted.length < limits.maxPasses && !idle) return 'pass';
  switch (limits.whenNotConverging) {
    case 'stop':
      return 'pause';
    case 'give-up':
      return 'give-up';
    case 'throttle':
      return throttleSteps < limits.maxThrottleSteps && !idle ? 'throttle' : 'give-up';
  }
}

/** Whether more passes can change nothing: the destination will not take them for ever. */
function isIdle(passes: readonly PassReport[]): boolean {
  const last = passes.slice(-MAX_EMPTY_PASSES / 2);
  return (
    last.length === MAX_EMPTY_PASSES / 2 &&
    last.every(({ validEntries, invalidEntries }) => validEntries + invalidEntries === 0)
  );
}

/** Passes in a row without an entry that a destination takes. */
export const MAX_EMPTY_PASSES = 1024;
