import { MAX_MS } from '../../node/waiting.js';
import { UsageError } from '../usage-error.js';
import type { ControlledGuest } from './controlled-guest.js';
import { Hooks } from './hooks.js';

/** How the command line says that the guest is to be stopped. */
export interface ControlOptions {
  readonly onPause?: string;
  readonly onResume?: string;
  readonly onThrottle?: string;
  /** Longest time for one command, or one answer of the VMM. */
  readonly pauseTimeoutMs: number;
  /** Longest time the guest is kept stopped. */
  readonly stopLimitMs: number;
}

/**
 * The commands that control the guest.
 *
 * @returns undefined if there are none
 * @throws UsageError for half a pair of them
 */
export function hooksOf(options: Omit<ControlOptions, 'stopLimitMs'>): ControlledGuest | undefined {
  const { onPause, onResume, onThrottle, pauseTimeoutMs } = options;
  if (onPause !== undefined && onResume !== undefined) {
    return new Hooks({ onPause, onResume, onThrottle }, pauseTimeoutMs);
  }
  if (onPause === undefined && onResume === undefined && onThrottle === undefined) return undefined;
  throw new UsageError('--on-pause and --on-resume go together, and --on-throttle with both');
}

/** The `guestTimeoutMs` to go with them: the control has its own limit, and says more about what it could not do. */
export function guestTimeoutOf({ pauseTimeoutMs }: Pick<ControlOptions, 'pauseTimeoutMs'>): number {
  return Math.min(pauseTimeoutMs + 1000, MAX_MS);
}
