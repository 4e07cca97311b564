import type { HtabUnavailableError } from '../../base/errors.js';
import type { OptionTable } from '../../base/options.js';
import { GUEST_LIMITS } from '../../precopy/guest-options.js';
import type { QemuStream, QemuStreamProgress } from '../stream/read-qemu-stream.js';
import type { GuestMemory } from './migration-settings.js';

/** How a table is taken from a migration of a guest that goes on. */
export interface QemuTableOptions {
  /**
   * Longest time the guest stands still, in ms, 1..2^31 - 1; default 120,000. After that QEMU's migration is ended, and the
   * guest runs on.
   */
  readonly stopLimitMs?: number | undefined;
  /** Ends the migration, and rejects with its reason once the guest runs again. */
  readonly signal?: AbortSignal | undefined;
  /** Called once, before QEMU is asked to migrate. */
  readonly onBegin?: ((plan: QemuTablePlan) => void) | undefined;
  /** Called after every chunk of the stream. */
  readonly onProgress?: ((progress: QemuStreamProgress) => void) | undefined;
}

/** What a migration is about to be asked for. */
export interface QemuTablePlan extends GuestMemory {
  /** The guest runs; otherwise it stands still, and is left so. */
  readonly running: boolean;
}

export const QEMU_TABLE_OPTIONS = {
  stopLimitMs: GUEST_LIMITS.stopLimitMs,
  signal: { doc: 'ends the migration; the guest runs on' },
  onBegin: { doc: 'called once, before QEMU is asked to migrate' },
  onProgress: { doc: 'called after every chunk of the stream' },
} as const satisfies OptionTable<QemuTableOptions>;

/** The table of a guest that goes on. */
export interface QemuTable {
  /** The stream that QEMU wrote, with the table. */
  readonly stream: QemuStream;
  /** How long the guest stood still, by QEMU's clock; undefined if it stood still before. */
  readonly stopMs: number | undefined;
  /** The state that QEMU says the guest is in now, as `running`. */
  readonly guestState: string;
  /** Why QEMU's settings could not be set back, with the settings; undefined if they are. */
  readonly settingsError: HtabUnavailableError | undefined;
}
