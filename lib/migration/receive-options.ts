import { checkFunction, checkInteger, checkOptions, integerOption, outOfRange } from '../arguments.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { PageShift } from '../hpt/hpte.js';
import type { HostModel } from '../vm/host.js';
import type { TargetAccess } from './endpoints.js';
import { EntryRules } from './entry-rules.js';
import { checkJournal, MemoryJournal, type Journal } from './journal.js';
import { reconnectTimeOf, timeoutOf, type MigrationOptions } from './options.js';
import type { ReceiveProgress } from './receive-session.js';
import type { CopyRules } from './table-copy.js';

export interface ReceiveOptions extends MigrationOptions {
  /**
   * What the decision is written to before the source hears of it. Default: one that ends with this process, and then a
   * source that has lost the connection at the wrong moment can ask nobody.
   */
  readonly journal?: Journal | undefined;
  /**
   * Read the table back and compare it, while it comes and before it is called prepared. Default true; false, and the
   * only choice, for a descriptor without `openRead`.
   */
  readonly readBack?: boolean | undefined;
  /**
   * Valid entries that a plausible table has when its first pass is complete, 0..2^32. Default 1: a guest that has run at all has
   * entries, the kernel makes those of its real-mode area. 0 for a guest that has never run.
   */
  readonly minEntries?: number | undefined;
  /** Bolted entries among them, 0..2^32; default 0. Linux bolts its kernel's mapping, other guests need not. */
  readonly minBoltedEntries?: number | undefined;
  /** log2 of the bytes of the only table that is taken, 18..36; default: any. */
  readonly expectedOrder?: number | undefined;
  /**
   * log2 of the bytes of the largest table that is taken, 18..36; default 36. A VM's host sets so much memory aside on a
   * source's word, before anything else is known of the table.
   */
  readonly maxOrder?: number | undefined;
  /** Page sizes that this host can map, as their log2: one or more of 12, 16, 24, 34; default: what the kernel takes, entry by entry. */
  readonly pageShifts?: readonly PageShift[] | undefined;
  /** Called after every data frame. */
  readonly onProgress?: ((progress: ReceiveProgress) => void) | undefined;
  /** Called with what is wrong with a listener's connection that is closed because it brings no source, nor one that asks. */
  readonly onRefused?: ((reason: unknown) => void) | undefined;
}

/** The same with nothing left open. */
export interface ReceiveSettings {
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly signal: AbortSignal | undefined;
  readonly journal: Journal;
  readonly host: HostModel | undefined;
  readonly onProgress: ((progress: ReceiveProgress) => void) | undefined;
  readonly onRefused: ((reason: unknown) => void) | undefined;
  /** What the table must be, once it is known what it comes to. */
  readonly rulesFor: (target: TargetAccess) => CopyRules;
}

/** @throws RangeError for options out of range */
export function receiveSettings(options: ReceiveOptions): ReceiveSettings {
  checkOptions(options);
  const { host, signal, onProgress, onRefused, pageShifts, journal = new MemoryJournal() } = options;
  checkJournal(journal);
  if (onRefused !== undefined) checkFunction('onRefused', onRefused);
  const minEntries = integerOption('minEntries', options.minEntries, 1, 0, 2 ** 32);
  const minBoltedEntries = integerOption('minBoltedEntries', options.minBoltedEntries, 0, 0, 2 ** 32);
  if (pageShifts?.length === 0) throw outOfRange('pageShifts', 'at least one page size', pageShifts);
  const { expectedOrder, readBack } = options;
  if (expectedOrder !== undefined) checkInteger('expectedOrder', expectedOrder, MIN_ORDER, MAX_STREAM_ORDER);
  const maxOrder = integerOption('maxOrder', options.maxOrder, MAX_STREAM_ORDER, MIN_ORDER, MAX_STREAM_ORDER);
  return {
    timeoutMs: timeoutOf(options),
    reconnectMs: reconnectTimeOf(options),
    signal,
    journal,
    host,
    onProgress,
    onRefused,
    rulesFor: (target) => ({
      expectedOrder,
      maxOrder,
      entries: new EntryRules(target.host, pageShifts),
      readBack: readBackOf(target, readBack),
      minEntries,
      minBoltedEntries,
    }),
  };
}

/** The value of `readBack`: where nothing is said, as far as it can be done. */
function readBackOf({ canReadBack }: TargetAccess, given: boolean | undefined): boolean {
  if (given === true && !canReadBack)
    throw outOfRange('readBack', 'false for a target without openRead', given);
  return given ?? canReadBack;
}
