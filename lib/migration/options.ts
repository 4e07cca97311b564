import { numbersOf, type OptionTable } from '../base/options.js';
import { MAX_MS } from '../base/time.js';
import type { HostModel } from '../vm/host.js';

/** Options of both ends of a migration. */
export interface MigrationOptions {
  /**
   * Longest silence of the peer, and longest wait for the journal, in ms, 100..2^31 - 1; default 30,000. A destination's
   * journal has `reconnectMs` more for the decision, because the source asks for it until then.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Ends the migration with its reason; the guest stays at the source. Once the source may have committed, it only ends
   * the asking for the outcome.
   */
  readonly signal?: AbortSignal | undefined;
  /** Processor of this host, where the VM or this machine does not tell: `power9` for later ones too. Default: not known. */
  readonly host?: HostModel | undefined;
  /**
   * Longest time without a connection before the migration is given up, in ms, 0..2^31 - 1; default 60,000. At the source
   * it counts once the destination has welcomed it; before that, `waitMs` does.
   */
  readonly reconnectMs?: number | undefined;
}

export const MIGRATION_OPTIONS = {
  timeoutMs: {
    min: 100,
    max: MAX_MS,
    default: 30_000,
    unit: 'ms',
    doc: 'longest silence of the peer, and longest wait for the journal',
  },
  reconnectMs: {
    min: 0,
    max: MAX_MS,
    default: 60_000,
    unit: 'ms',
    doc: 'longest time without a connection, once there was one',
  },
  host: {
    choices: ['power8', 'power9'],
    doc: 'processor of this host, where neither the VM nor the machine tells; power9 for later ones too',
  },
  signal: {
    doc: 'aborts the migration; after the commit it has no effect but to end the asking of a source',
  },
} as const satisfies OptionTable<MigrationOptions>;

/** The `timeoutMs` of these options. */
export function timeoutOf(options: Pick<MigrationOptions, 'timeoutMs'>): number {
  const { timeoutMs } = MIGRATION_OPTIONS;
  return numbersOf({ timeoutMs }, options).timeoutMs;
}
