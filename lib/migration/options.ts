import { outOfRange } from '../errors.js';

/** What both ends of a migration take. */
export interface MigrationOptions {
  /** Longest time the peer may take over one step, in ms, 100..2^31 - 1; default 30,000. */
  readonly timeoutMs?: number;
  /** Ends the migration with its reason; the guest stays at the source. */
  readonly signal?: AbortSignal;
}

/** The `timeoutMs` of these options. */
export function timeoutOf({ timeoutMs }: MigrationOptions): number {
  return integerOption('timeoutMs', timeoutMs, 30_000, 100, 2 ** 31 - 1);
}

/**
 * An option's value, or its default.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) unless it is an integer in `min..max`
 */
export function integerOption(
  name: string,
  value: number | undefined,
  byDefault: number,
  min: number,
  max: number,
): number {
  if (value === undefined) return byDefault;
  if (!Number.isInteger(value) || value < min || value > max) {
    throw outOfRange(name, `an integer in ${min}..${max}`, value);
  }
  return value;
}
