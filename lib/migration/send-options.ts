import {
  GUEST_TIMEOUT_MS,
  STOP_LIMIT_MS,
  checkGuestCallbacks,
  type GuestCallbacks,
} from '../io/guest-control.js';
import type { PassProgress } from '../io/pass-progress.js';
import { MAX_MS } from '../node/waiting.js';
import { checkJournal, MemoryJournal, type Journal } from './journal.js';
import { checkMigrationId, reconnectTimeOf, timeoutOf, type MigrationOptions } from './options.js';
import type { PassSettings } from './pass-sender.js';
import type { NotConverging, PrecopyLimits } from './policy.js';
import { MAX_DATA_BYTES } from './protocol.js';
import { randomUUID } from 'node:crypto';
import { checkOptions, integerOption, outOfRange } from '../arguments.js';

/** A frame holds one read, and a read fills at most the buffer (kernel-abi.md 2.3). */
const MIN_FRAME_BYTES = 4096;
const MAX_COUNT = 2 ** 31 - 1;

export interface SendOptions extends MigrationOptions, GuestCallbacks, Partial<PrecopyLimits> {
  /** Names the migration on both sides: 1..64 letters, digits and hyphens; never the same twice. Default a random UUID. */
  readonly migrationId?: string | undefined;
  /**
   * What says, before the source commits, that it is about to: a source that dies then is started again with it, and
   * finds the migration `pending` there. Default: one that ends with this process.
   */
  readonly journal?: Journal | undefined;
  /** Longest time one call of `pause`, `resume` or `throttle` may take, in ms, 1..2^31 - 1; default 30,000. */
  readonly guestTimeoutMs?: number | undefined;
  /** Record bytes per second while the guest runs, 1..2^40; default: as fast as the destination takes them. */
  readonly bytesPerSecond?: number | undefined;
  /** Bytes of records in a data frame at most, 4096..2^20; default 2^20. Smaller ones give steadier progress and cost more calls. */
  readonly frameBytes?: number | undefined;
  /**
   * Longest time the guest is kept stopped before the commit, in ms, 1..2^31 - 1; default 120,000. After that it runs on
   * here.
   */
  readonly stopLimitMs?: number | undefined;
  /** Connections beyond the first, 0..2^31 - 1; default 16. */
  readonly maxReconnects?: number | undefined;
  /**
   * Times the migration begins anew with a table that was resized, or of which changes were lost, 0..2^31 - 1; default 3.
   */
  readonly maxRestarts?: number | undefined;
  /**
   * Once the guest stands still, read the whole table again through another descriptor and compare: finds every change
   * that another reader has taken. Costs a full scan of stop time; default false: only a few entries are looked at, which
   * finds a table that was replaced. A descriptor without `reopen` cannot be read again.
   */
  readonly recheckSource?: boolean | undefined;
  /** Called after every data frame and at the end of every pass. */
  readonly onProgress?: ((progress: PassProgress) => void) | undefined;
}

/** The same with nothing left open. */
export interface SendSettings {
  readonly migrationId: string;
  readonly journal: Journal;
  readonly limits: PrecopyLimits;
  readonly guestTimeoutMs: number;
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly maxReconnects: number;
  readonly maxRestarts: number;
  readonly frameBytes: number;
  readonly stopLimitMs: number;
  readonly recheckSource: boolean;
  readonly signal: AbortSignal | undefined;
  readonly passes: PassSettings;
}

/** @throws RangeError, TypeError for options that cannot be */
export function sendSettings(options: SendOptions): SendSettings {
  checkOptions(options);
  const { signal, onProgress, migrationId = randomUUID(), journal = new MemoryJournal() } = options;
  checkJournal(journal);
  checkGuestCallbacks(options);
  checkMigrationId(migrationId);
  return {
    migrationId,
    journal,
    limits: precopyLimits(options),
    guestTimeoutMs: integerOption('guestTimeoutMs', options.guestTimeoutMs, GUEST_TIMEOUT_MS, 1, MAX_MS),
    timeoutMs: timeoutOf(options),
    reconnectMs: reconnectTimeOf(options),
    maxReconnects: integerOption('maxReconnects', options.maxReconnects, 16, 0, MAX_COUNT),
    maxRestarts: integerOption('maxRestarts', options.maxRestarts, 3, 0, MAX_COUNT),
    frameBytes: integerOption(
      'frameBytes',
      options.frameBytes,
      MAX_DATA_BYTES,
      MIN_FRAME_BYTES,
      MAX_DATA_BYTES,
    ),
    stopLimitMs: integerOption('stopLimitMs', options.stopLimitMs, STOP_LIMIT_MS, 1, MAX_MS),
    recheckSource: options.recheckSource ?? false,
    signal,
    passes: {
      bytesPerSecond: integerOption('bytesPerSecond', options.bytesPerSecond, Infinity, 1, 2 ** 40),
      signal,
      onProgress,
    },
  };
}

function precopyLimits(options: SendOptions): PrecopyLimits {
  const whenNotConverging: NotConverging = options.whenNotConverging ?? 'stop';
  if (!['stop', 'throttle', 'give-up'].includes(whenNotConverging)) {
    throw outOfRange('whenNotConverging', "'stop', 'throttle' or 'give-up'", whenNotConverging);
  }
  if (whenNotConverging === 'throttle' && options.throttle === undefined) {
    throw outOfRange('throttle', "a function with whenNotConverging 'throttle'", undefined);
  }
  return {
    downtimeMs: integerOption('downtimeMs', options.downtimeMs, 300, 0, MAX_MS),
    maxPasses: integerOption('maxPasses', options.maxPasses, 16, 0, MAX_COUNT),
    maxChangedEntries: integerOption('maxChangedEntries', options.maxChangedEntries, 2 ** 32, 0, 2 ** 32),
    whenNotConverging,
    maxThrottleSteps: integerOption('maxThrottleSteps', options.maxThrottleSteps, 8, 0, MAX_COUNT),
  };
}
