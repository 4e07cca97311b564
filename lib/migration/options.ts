import { integerOption, outOfRange } from '../arguments.js';
import type { HostModel } from '../vm/host.js';
import { MAX_MS } from '../node/waiting.js';
import { isMigrationId } from './protocol.js';

/** What both ends of a migration take. */
export interface MigrationOptions {
  /**
   * Longest time the peer may show no sign of life, or the journal not answer, in ms, 100..2^31 - 1; default 30,000. A
   * destination's journal has `reconnectMs` more for the decision, as the source asks for it until then.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Ends the migration with its reason; the guest stays at the source. Once the source may have committed, it only ends
   * the asking for the outcome.
   */
  readonly signal?: AbortSignal | undefined;
  /** Processor of this host, where the VM or this machine does not tell: `power9` for later ones too. Default: not known. */
  readonly host?: HostModel | undefined;
  /** Longest time to be without a connection before the migration is given up, in ms, 0..2^31 - 1; default 60,000. */
  readonly reconnectMs?: number | undefined;
}

/** The `timeoutMs` of these options. */
export function timeoutOf({ timeoutMs }: Pick<MigrationOptions, 'timeoutMs'>): number {
  return integerOption('timeoutMs', timeoutMs, 30_000, 100, MAX_MS);
}

/** The `reconnectMs` of these options. */
export function reconnectTimeOf({ reconnectMs }: MigrationOptions): number {
  return integerOption('reconnectMs', reconnectMs, 60_000, 0, MAX_MS);
}

/** @throws RangeError for a text that cannot name a migration */
export function checkMigrationId(migrationId: string): void {
  if (!isMigrationId(migrationId)) {
    throw outOfRange('migrationId', '1 to 64 letters, digits and hyphens', migrationId);
  }
}
