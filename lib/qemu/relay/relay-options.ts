import type { OptionTable } from '../../base/options.js';
import type { StopShare } from './stop-watch.js';

/** How far a relayed migration has come. */
export interface RelayProgress {
  /**
   * - `copying`: the table has not been judged.
   * - `judged`: it is right, and devices go on.
   * - `handed-over`: the destination may have all of the guest.
   */
  readonly state: 'copying' | 'judged' | 'handed-over';
  /** Bytes of the stream that have gone on. */
  readonly bytes: number;
  /** Pages of memory among them. */
  readonly pages: number;
  /** Valid entries of the table so far. */
  readonly validEntries: number;
  /** The source waits until the destination says that it has the guest. */
  readonly returnPath: boolean;
  /** What of the guest's stop the relay saw, once all of the stream has come. */
  readonly stop: StopShare | undefined;
}

/** What a relay asks of a migration. */
export interface RelayOptions {
  /** Fewest valid entries of a table that goes on, 0..2^32; default 1. QEMU itself loads an empty one, and the guest hangs. */
  readonly minEntries?: number | undefined;
  /** `digestTable` of the only table that goes on: for a guest that stands still. Computed while it does. */
  readonly expectDigest?: string | undefined;
  /** Ends both connections with its reason, unless the destination may have all of the guest. */
  readonly signal?: AbortSignal | undefined;
  /** Called once the destination is connected, and after every chunk that has gone on. */
  readonly onProgress?: ((progress: RelayProgress) => void) | undefined;
  /** Called with the reason, and the peer's IP address, for each connection that is closed because it is no migration. */
  readonly onRefused?: ((reason: Error, from: string | undefined) => void) | undefined;
}

export const RELAY_OPTIONS = {
  minEntries: {
    min: 0,
    max: 2 ** 32,
    default: 1,
    unit: 'entries',
    doc: 'fewest valid entries of a table that goes on; 0 for a guest that has never run',
  },
  expectDigest: {
    values: '64 hexadecimal digits',
    doc: 'digest of the only table that goes on; computing it makes the stop longer',
  },
  signal: { doc: 'ends both connections, unless the destination may have all of the guest' },
  onProgress: { doc: 'called after every chunk that has gone on' },
  onRefused: { doc: 'called when a connection is closed because it is no migration, with the reason' },
} as const satisfies OptionTable<RelayOptions>;
