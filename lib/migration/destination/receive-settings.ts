import { checkFunction, outOfRangeError } from '../../base/arguments.js';
import { checkOptions, numbersOf } from '../../base/options.js';
import type { PageShift } from '../../hpt/page-size.js';
import type { HostModel } from '../../vm/host.js';
import type { Target } from './target.js';
import { EntryRules } from '../compatibility.js';
import { checkJournal, type Journal } from '../journal/journal.js';
import { MemoryJournal } from '../journal/memory-journal.js';
import { checkMigrationId } from '../migration-id.js';
import type { OnRefused } from '../../transport/arrivals.js';
import { checkDestinationRest } from '../rest.js';
import { RECEIVE_OPTIONS, type ReceiveOptions } from './receive-options.js';
import type { ReceiveProgress } from './receive-report.js';
import { RestTaker } from './rest-taker.js';
import type { CopyRules } from './table-copy.js';

/** The options as the migration uses them: checked, with the defaults. */
export interface ReceiveSettings {
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly guestTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly journal: Journal;
  readonly host: HostModel | undefined;
  readonly onProgress: ((progress: ReceiveProgress) => void) | undefined;
  readonly onRefused: OnRefused | undefined;
  readonly migrationId: string | undefined;
  readonly rest: RestTaker | undefined;
  /** What the table must be, for this target. */
  readonly rulesFor: (target: Target) => CopyRules;
}

/** @throws RangeError for options out of range */
export function receiveSettings(options: ReceiveOptions): ReceiveSettings {
  checkOptions(options, RECEIVE_OPTIONS);
  const { host, signal, onProgress, onRefused, pageShifts, journal = new MemoryJournal() } = options;
  checkJournal(journal);
  const { migrationId, rest } = options;
  if (migrationId !== undefined) checkMigrationId(migrationId);
  if (onRefused !== undefined) checkFunction('onRefused', onRefused);
  if (rest !== undefined) checkDestinationRest(rest);
  const { timeoutMs, reconnectMs, guestTimeoutMs, ...limits } = numbersOf(RECEIVE_OPTIONS, options);
  if (pageShifts !== undefined) checkPageShifts(pageShifts);
  return {
    timeoutMs,
    reconnectMs,
    guestTimeoutMs,
    signal,
    journal,
    host,
    onProgress,
    onRefused,
    migrationId,
    rest: rest && new RestTaker(rest, guestTimeoutMs),
    rulesFor: (target) => ({
      ...limits,
      entries: new EntryRules(target.host, pageShifts),
      readBack: readBackOf(target, options.readBack),
    }),
  };
}

/** With a size that no host has, tables would be refused for no reason. */
function checkPageShifts(pageShifts: readonly PageShift[]): void {
  const known: readonly PageShift[] = [12, 16, 24, 34];
  if (pageShifts.length > 0 && pageShifts.every((shift) => known.includes(shift))) return;
  throw outOfRangeError('pageShifts', `one or more of ${known.join(', ')}`, pageShifts);
}

/** The value of `readBack`; default: true where the target can be read. */
function readBackOf({ canReadBack }: Target, given: boolean | undefined): boolean {
  if (given === true && !canReadBack)
    throw outOfRangeError('readBack', 'false for a target without openRead', given);
  return given ?? canReadBack;
}
