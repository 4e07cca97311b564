import { checkInteger, checkMethod, checkOneOf, outOfRangeError } from '../../base/arguments.js';
import { isDigest } from '../../frames/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { checkMigrationId } from '../migration-id.js';

/** Which end of a migration writes. */
export type Side = 'source' | 'destination';
/** How a migration ended: the guest is the destination's, or the source's. */
export type Decision = 'committed' | 'aborted';

/** What a migration may leave behind if its process dies. */
export interface JournalRecord {
  readonly migrationId: string;
  readonly side: Side;
  /** log2 of the table's bytes. */
  readonly order: number;
  /** SHA-256 of the records by which the table came, in hexadecimal digits; the same on both sides. */
  readonly digest: string;
}

/** One side of one migration, as far as the journal knows. */
export interface JournalEntry extends JournalRecord {
  /**
   * `pending`: at the destination, it said that it is prepared; at the source, it may have said that it commits.
   * Nothing has been decided here.
   */
  readonly state: 'pending' | Decision;
}

/**
 * Keeps what must survive a process, so that two sides without a connection reach the same outcome.
 *
 * The first decision about a migration stands: a later one, in this process or another that has the same
 * journal open, is told what it was. That is what makes a late commit harmless after the source was told `aborted`.
 *
 * The package's own journals reject with a RangeError or TypeError what no migration has, such as a name of 65 letters:
 * written down, it would be read back as damage, which puts every migration in doubt.
 */
export interface Journal extends AsyncDisposable {
  /**
   * Entries of one side in the order in which they were decided or, if they are `pending`, begun: the newest last.
   *
   * @throws HtabJournalError (`ERR_HTAB_IN_DOUBT`) if damaged or cut lines may hold others, or decisions about these: it
   *   names them, and has the entries that are proven all the same
   */
  entries(side: Side): Promise<JournalEntry[]>;
  /**
   * @returns undefined: this migration was never begun here
   * @throws HtabJournalError (`ERR_HTAB_IN_DOUBT`) if a damaged or cut line may say more about it than is known
   */
  find(side: Side, migrationId: string): Promise<JournalEntry | undefined>;
  /**
   * Writes that a decision is due. When this resolves it is on the disk.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for a migration that has been decided: the decision would be taken for that
   *   about another guest, or another try; and for any in a journal with damaged lines
   */
  begin(record: JournalRecord): Promise<void>;
  /**
   * Decides, unless it has been decided. When this resolves the decision is on the disk.
   *
   * @returns the decision that stands
   * @throws HtabError `ERR_HTAB_MIGRATION` for a migration that was never begun here; nothing is written then
   * @throws HtabSystemError if it cannot be written; nothing has been decided then
   * @throws HtabError `ERR_HTAB_IN_DOUBT` if it cannot be known whether it was written; HtabJournalError as `find`
   */
  decide(side: Side, migrationId: string, decision: Decision): Promise<Decision>;
  close(): Promise<void>;
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`): most likely the promise that `openJournal` returns, not awaited */
export function checkJournal(journal: unknown): void {
  checkMethod('journal', journal, 'decide', 'a Journal, as openJournal resolves to');
}

/** @internal @throws RangeError, TypeError for what names no entry */
export function checkJournalKey(side: Side, migrationId: string): void {
  checkOneOf('side', side, ['source', 'destination']);
  checkMigrationId(migrationId);
}

/** @internal @throws RangeError, TypeError for a record that no migration has */
export function checkJournalRecord({ side, migrationId, order, digest }: JournalRecord): void {
  checkJournalKey(side, migrationId);
  checkInteger('order', order, MIN_ORDER, MAX_STREAM_ORDER);
  checkDigest(digest);
}

/** @internal @throws RangeError */
export function checkDigest(digest: unknown): void {
  if (!isDigest(digest)) throw outOfRangeError('digest', 'a SHA-256 in 64 hexadecimal digits', digest);
}

/** @internal @throws RangeError, TypeError for what decides nothing */
export function checkDecision(side: Side, migrationId: string, decision: Decision): void {
  checkJournalKey(side, migrationId);
  checkOneOf('decision', decision, ['committed', 'aborted']);
}
