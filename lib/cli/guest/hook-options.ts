import { MAX_MS } from '../../base/time.js';
import { UsageError } from '../errors/usage-error.js';
import type { GuestCallbacks } from '../../precopy/guest-options.js';
import { Hooks } from './hooks.js';

/** How the guest is stopped, from the command line. */
export interface ControlOptions {
  readonly onPause?: string;
  readonly onResume?: string;
  readonly onThrottle?: string;
  /** The guest is stopped already. */
  readonly alreadyPaused?: boolean;
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
export function hooksOf(options: Omit<ControlOptions, 'stopLimitMs'>): GuestCallbacks | undefined {
  const { onPause, onResume, onThrottle, pauseTimeoutMs } = options;
  if (onPause !== undefined && onResume !== undefined) {
    return new Hooks({ onPause, onResume, onThrottle }, pauseTimeoutMs);
  }
  if (onPause === undefined && onResume === undefined && onThrottle === undefined) return undefined;
  if (onPause !== undefined) throw new UsageError('--on-pause needs --on-resume');
  if (onResume !== undefined) throw new UsageError('--on-resume needs --on-pause');
  throw new UsageError('--on-throttle needs --on-pause and --on-resume');
}

/** The `guestTimeoutMs` for commands that may take so long. Their own limit ends first, because its error says more. */
export function guestTimeoutOf(timeoutMs: number): number {
  return Math.min(timeoutMs + 1000, MAX_MS);
}
