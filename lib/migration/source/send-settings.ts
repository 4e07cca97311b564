import { randomUUID } from 'node:crypto';
import { invalidTypeError, outOfRangeError } from '../../base/arguments.js';
import { checkOptions, numbersOf } from '../../base/options.js';
import { callbacksOf, type GuestCallbacks } from '../../precopy/guest-options.js';
import type { PrecopyLimits } from '../../precopy/policy.js';
import { checkJournal, type Journal } from '../journal/journal.js';
import { MemoryJournal } from '../journal/memory-journal.js';
import { checkMigrationId } from '../migration-id.js';
import { checkSourceRest, type SourceRest } from '../rest.js';
import type { PassSettings } from './pass-sender.js';
import { MIN_FRAME_BYTES, SEND_OPTIONS, type SendOptions } from './send-options.js';

/** With a rate, a frame holds at most this part of a second's bytes: a larger one would go out at once, and a pause follow. */
const RATED_FRAMES_PER_SECOND = 20;

/** The options as the migration uses them: checked, with the defaults. */
export interface SendSettings {
  readonly migrationId: string;
  readonly journal: Journal;
  /** Undefined for a guest that is already paused. */
  readonly guest: GuestCallbacks | undefined;
  readonly limits: PrecopyLimits;
  readonly guestTimeoutMs: number;
  readonly timeoutMs: number;
  readonly waitMs: number;
  readonly reconnectMs: number;
  readonly maxReconnects: number;
  readonly maxRestarts: number;
  readonly frameBytes: number;
  readonly stopLimitMs: number;
  readonly recheckSource: boolean;
  readonly rest: SourceRest | undefined;
  readonly scanShare: number;
  readonly signal: AbortSignal | undefined;
  readonly passes: PassSettings;
}

/** @throws RangeError, TypeError for invalid options */
export function sendSettings(options: SendOptions): SendSettings {
  // Without types, the likeliest mistake is no options at all.
  if ((options as SendOptions | undefined) === undefined)
    throw invalidTypeError('options', 'an object with pause and resume, or alreadyPaused', options);
  checkOptions(options, SEND_OPTIONS);
  const { rest, signal, onProgress, migrationId = randomUUID(), journal = new MemoryJournal() } = options;
  checkJournal(journal);
  const guest = callbacksOf(options);
  checkMigrationId(migrationId);
  const numbers = numbersOf(SEND_OPTIONS, options);
  if (rest !== undefined) checkSourceRest(rest);
  const { bytesPerSecond = Infinity, frameBytes, timeoutMs } = numbers;
  return {
    ...numbers,
    migrationId,
    journal,
    guest,
    limits: { ...numbers, whenNotConverging: whenNotConvergingOf(options) },
    frameBytes: ratedFrameBytes(frameBytes, bytesPerSecond),
    recheckSource: options.recheckSource ?? SEND_OPTIONS.recheckSource.default,
    rest,
    signal,
    passes: {
      bytesPerSecond,
      timeoutMs,
      alreadyPaused: guest === undefined,
      signal,
      onProgress,
    },
  };
}

function ratedFrameBytes(most: number, bytesPerSecond: number): number {
  return Math.min(most, Math.max(MIN_FRAME_BYTES, Math.floor(bytesPerSecond / RATED_FRAMES_PER_SECOND)));
}

function whenNotConvergingOf({
  whenNotConverging,
  throttle,
}: SendOptions): PrecopyLimits['whenNotConverging'] {
  const row = SEND_OPTIONS.whenNotConverging;
  const chosen = whenNotConverging ?? row.default;
  if (!row.choices.includes(chosen)) {
    throw outOfRangeError('whenNotConverging', "'stop', 'throttle' or 'give-up'", whenNotConverging);
  }
  if (chosen === 'throttle' && throttle === undefined) {
    throw outOfRangeError('throttle', "a function with whenNotConverging 'throttle'", undefined);
  }
  return chosen;
}
