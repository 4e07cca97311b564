import {
  GUEST_LIMITS,
  GUEST_OPTIONS,
  type GuestLimits,
  type GuestOptions,
} from '../../precopy/guest-options.js';
import type { OptionTable } from '../../base/options.js';
import type { PassProgress } from '../../precopy/pass-progress.js';
import { MAX_MS } from '../../base/time.js';
import type { Journal } from '../journal/journal.js';
import type { SourceRest } from '../rest.js';
import { MIGRATION_OPTIONS, type MigrationOptions } from '../options.js';
import { MAX_COUNT, PRECOPY_OPTIONS, type PrecopyLimits } from '../../precopy/policy.js';
import { MAX_DATA_BYTES } from '../wire/protocol.js';
import { MIGRATION_ID_VALUES } from '../migration-id.js';

/** A frame holds one read, and a read fills at most the buffer (kernel-abi.md 2.3). */
export const MIN_FRAME_BYTES = 4096;

export interface SendOptions extends MigrationOptions, GuestOptions, GuestLimits, Partial<PrecopyLimits> {
  /**
   * Name of the migration on both sides: 1..64 letters, digits and hyphens, never used before. An id that the source's
   * journal has is refused before a connection is made, one that the destination's has at the hello. Default a random UUID.
   */
  readonly migrationId?: string | undefined;
  /**
   * Records that the source is about to commit, before it does: a source that died can be started again with it, and finds
   * the migration `pending` there. Default: a journal that ends with this process.
   */
  readonly journal?: Journal | undefined;
  /**
   * Record bytes per second while the guest runs, 1..2^40; default: as fast as the destination takes them. A frame holds the
   * bytes of 50 ms at most, but never less than 4096.
   */
  readonly bytesPerSecond?: number | undefined;
  /** Most bytes of records in a data frame, 4096..2^20; default 2^20. Smaller ones give steadier progress and cost more calls. */
  readonly frameBytes?: number | undefined;
  /**
   * Longest time to try again until a destination has welcomed this migration, in ms, 0..2^31 - 1; default 0: the first
   * failure ends it, because most of them are mistakes that last. For a destination that is being started meanwhile.
   */
  readonly waitMs?: number | undefined;
  /**
   * Connections beyond the first, 0..2^31 - 1; default 16. `reconnectMs` begins anew with each welcome, so that no time ends a
   * migration over a line that breaks again and again.
   */
  readonly maxReconnects?: number | undefined;
  /**
   * How often the migration begins again with a table that was replaced or resized, or of which changes were lost,
   * 0..2^31 - 1; default 3. No time ends that for a guest that resizes its table again and again.
   */
  readonly maxRestarts?: number | undefined;
  /**
   * Once the guest is stopped, read the whole table again through another descriptor and compare: this finds every change
   * that another reader has taken. It costs a full scan of stop time. Default false: some fifty entries from all over the
   * table are compared, which finds a table that was replaced. A descriptor without `reopen` cannot be read again.
   */
  readonly recheckSource?: boolean | undefined;
  /**
   * All of the guest but its table: when this is given, the migration commits the whole guest. The destination needs the
   * other half of it, and refuses a source without. Default: the table only.
   */
  readonly rest?: SourceRest | undefined;
  /**
   * Largest part of a CPU that passes may cost while `rest` alone would need more of the stop than `downtimeMs`, 0.001..1;
   * default 0.03. After a pass that took t, less what it waited for `bytesPerSecond` and for the destination to confirm it,
   * the next one is due after t * (1 / scanShare - 1), and at least 1 s; at once when the rest comes near. The first pass,
   * which copies the table, does not count. There is no limit to that wait but `signal`.
   *
   * Meanwhile the table is looked at every 2 s, where it can be through a fresh descriptor: a guest that has gone radix,
   * or whose table has another order, is noticed by the next look. A table of the same order that has taken the place of
   * the one that was read is noticed after one more pass, made for that; if nearly all of a guest's entries change from
   * pass to pass, by the next pass that is due. Descriptors that begin at entry 0 only show that there is a table.
   */
  readonly scanShare?: number | undefined;
  /** Called after every data frame and at the end of every pass. */
  readonly onProgress?: ((progress: PassProgress) => void) | undefined;
}

export const SEND_OPTIONS = {
  ...MIGRATION_OPTIONS,
  ...GUEST_OPTIONS,
  ...GUEST_LIMITS,
  ...PRECOPY_OPTIONS,
  migrationId: {
    values: MIGRATION_ID_VALUES,
    doc: 'name of the migration on both sides, never used before; default: a random UUID',
  },
  journal: { doc: 'records the commit beyond this process' },
  waitMs: {
    min: 0,
    max: MAX_MS,
    default: 0,
    unit: 'ms',
    doc: 'longest time to try again until a destination has answered, for one that is being started',
  },
  maxReconnects: {
    min: 0,
    max: MAX_COUNT,
    default: 16,
    unit: 'connections',
    doc: 'most connections beyond the first',
  },
  maxRestarts: {
    min: 0,
    max: MAX_COUNT,
    default: 3,
    unit: 'restarts',
    doc: 'how often to begin again with a table that was replaced or resized, or of which changes were lost',
  },
  bytesPerSecond: {
    min: 1,
    max: 2 ** 40,
    unit: 'bytes per second',
    doc: 'bytes per second while the guest runs; default: no limit',
  },
  frameBytes: {
    min: MIN_FRAME_BYTES,
    max: MAX_DATA_BYTES,
    default: MAX_DATA_BYTES,
    unit: 'bytes',
    doc: 'most bytes of records in a frame; fewer with a low rate',
  },
  recheckSource: {
    default: false,
    doc: 'read the stopped table again, to find what another reader took: one more full scan',
  },
  rest: { doc: 'memory, registers and devices, moved beside the table and committed with it' },
  scanShare: {
    min: 0.001,
    max: 1,
    fraction: true,
    default: 0.03,
    unit: 'CPU',
    doc: 'most that passes cost while the rest is far from done',
  },
  onProgress: { doc: 'called after every frame and at the end of every pass' },
} as const satisfies OptionTable<SendOptions>;
