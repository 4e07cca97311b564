import type { OptionTable } from '../../base/options.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import type { PageShift } from '../../hpt/page-size.js';
import type { Journal } from '../journal/journal.js';
import { MIGRATION_ID_VALUES } from '../migration-id.js';
import { MIGRATION_OPTIONS, type MigrationOptions } from '../options.js';
import type { OnRefused } from '../../transport/arrivals.js';
import { GUEST_LIMITS } from '../../precopy/guest-options.js';
import type { DestinationRest } from '../rest.js';
import type { ReceiveProgress } from './receive-report.js';

export interface ReceiveOptions extends MigrationOptions {
  /**
   * Id of the only migration that is taken: 1 to 64 letters, digits and hyphens. Default: the first that comes.
   */
  readonly migrationId?: string | undefined;
  /**
   * Records the decision before the source hears of it. Default: a journal that ends with this process; a source that
   * loses the connection at the commit cannot ask after that.
   */
  readonly journal?: Journal | undefined;
  /**
   * Read the table back and compare it, while it arrives and before it is prepared. Default true; for a descriptor without
   * `openRead` default false, and the only choice.
   */
  readonly readBack?: boolean | undefined;
  /**
   * Fewest valid entries of a plausible table after its first pass, 0..2^32. Default 1: a guest that has run has entries,
   * because the kernel makes those of its real-mode area. 0 for a guest that has never run.
   */
  readonly minEntries?: number | undefined;
  /** Fewest bolted entries among them, 0..2^32; default 0. Linux bolts its kernel's mapping, other guests need not. */
  readonly minBoltedEntries?: number | undefined;
  /** log2 of the bytes of the only table that is taken, 18..36; default: any. */
  readonly expectedOrder?: number | undefined;
  /**
   * log2 of the bytes of the largest table that is taken, 18..36; default 36. The host allocates that much memory on the
   * source's word, before anything else is known of the table.
   */
  readonly maxOrder?: number | undefined;
  /** Page sizes that this host can map, as their log2: one or more of 12, 16, 24, 34; default: what the kernel takes, entry by entry. */
  readonly pageShifts?: readonly PageShift[] | undefined;
  /**
   * All of the guest but its table: when this is given, the migration commits the whole guest. A source without the
   * other half of it is refused, as is a source with a rest where this is missing. Default: the table only.
   *
   * Give `migrationId` as well, or once the first source has come no other one is taken: a rest belongs to one guest.
   */
  readonly rest?: DestinationRest | undefined;
  /**
   * Longest time to empty the target's table after a failure, for one call of `discard` or `run` of the rest, and for one
   * of `accept` whose signal has aborted, in ms, 1..2^31 - 1; default 30,000.
   */
  readonly guestTimeoutMs?: number | undefined;
  /** Called after every data frame. */
  readonly onProgress?: ((progress: ReceiveProgress) => void) | undefined;
  /**
   * Called when a listener's connection is closed because it brings neither an awaited source nor a question about an
   * outcome: with the reason, and the peer's IP address where there is one. Of several receivers over one listener, the
   * oldest is called. A peer whose TLS handshake fails does not come this far: the `onRefused` of `listen` is called.
   */
  readonly onRefused?: OnRefused | undefined;
}

const ORDER = { min: MIN_ORDER, max: MAX_STREAM_ORDER, unit: 'log2 of bytes' } as const;

export const RECEIVE_OPTIONS = {
  ...MIGRATION_OPTIONS,
  migrationId: {
    values: MIGRATION_ID_VALUES,
    doc: 'id of the only migration that is taken; default: the first that comes',
  },
  journal: { doc: 'records the decision beyond this process' },
  readBack: { default: true, doc: 'read the table back and compare it; only false without `openRead`' },
  minEntries: {
    min: 0,
    max: 2 ** 32,
    default: 1,
    unit: 'entries',
    doc: 'fewest valid entries of a plausible table; 0 for a guest that has never run',
  },
  minBoltedEntries: {
    min: 0,
    max: 2 ** 32,
    default: 0,
    unit: 'entries',
    doc: 'fewest bolted entries among them',
  },
  expectedOrder: { ...ORDER, doc: "log2 of the table's bytes: a table of another order is refused" },
  maxOrder: {
    ...ORDER,
    default: MAX_STREAM_ORDER,
    doc: 'log2 of the bytes of the largest table that is taken: the host allocates that much memory',
  },
  pageShifts: {
    doc: 'log2 of the page sizes that this host can map, of 12, 16, 24 and 34; default: what the kernel takes',
  },
  rest: { doc: 'memory, registers and devices, put in place before the table is committed' },
  guestTimeoutMs: {
    ...GUEST_LIMITS.guestTimeoutMs,
    doc: "longest time to empty the target's table, and for the rest's discard, run and given up accept",
  },
  onProgress: { doc: 'called after every frame of records' },
  onRefused: { doc: 'called when a connection is closed unserved, with the reason' },
} as const satisfies OptionTable<ReceiveOptions>;
