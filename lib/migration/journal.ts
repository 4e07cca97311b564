import { checkInteger, checkMethod, checkOneOf, outOfRange } from '../arguments.js';
import { isDigest } from '../framing/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { inDoubt, migrationError, nameTwice } from './failure.js';
import { checkMigrationId } from './options.js';

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
 * Remembers what must survive a process, so that two sides that have lost each other come to one outcome.
 *
 * The first decision about a migration stands: whoever comes later, in this process or another that has the same
 * journal open, is told what it was. That is what makes a late commit harmless after the source was told `aborted`.
 *
 * The package's own journals reject with a RangeError or TypeError what no migration has, such as a name of 65 letters:
 * written down, it would be read back as damage, which puts every migration in doubt.
 */
export interface Journal extends AsyncDisposable {
  /**
   * Entries of one side in the order in which they were decided or, if they are `pending`, begun: the newest last. One of
   * which it cannot be known how it was decided is `pending` here.
   */
  entries(side: Side): Promise<JournalEntry[]>;
  /** @throws HtabError `ERR_HTAB_IN_DOUBT` if it cannot be known how it was decided */
  find(side: Side, migrationId: string): Promise<JournalEntry | undefined>;
  /**
   * Writes that a decision is due. When this resolves it is on the disk.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` for a migration that has been decided: the decision would be taken for that
   *   about another guest, or another try
   */
  begin(record: JournalRecord): Promise<void>;
  /**
   * Decides, unless it has been decided. When this resolves the decision is on the disk.
   *
   * @returns the decision that stands
   * @throws HtabError `ERR_HTAB_MIGRATION` for a migration that was never begun here; nothing is written then
   * @throws HtabSystemError if it cannot be written; nothing has been decided then
   * @throws HtabError `ERR_HTAB_IN_DOUBT` if it cannot be known whether it was written
   */
  decide(side: Side, migrationId: string, decision: Decision): Promise<Decision>;
  close(): Promise<void>;
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`): most likely the promise that `openJournal` returns, not awaited */
export function checkJournal(journal: unknown): void {
  checkMethod('journal', journal, 'decide', 'a Journal, as openJournal resolves to');
}

/** @internal @throws RangeError, TypeError for what names no entry */
export function checkName(side: Side, migrationId: string): void {
  checkOneOf('side', side, ['source', 'destination']);
  checkMigrationId(migrationId);
}

/** @internal @throws RangeError, TypeError for a record that no migration has */
export function checkRecord({ side, migrationId, order, digest }: JournalRecord): void {
  checkName(side, migrationId);
  checkInteger('order', order, MIN_ORDER, MAX_STREAM_ORDER);
  if (!isDigest(digest)) throw outOfRange('digest', 'a SHA-256 in 64 hexadecimal digits', digest);
}

/** @internal @throws RangeError, TypeError for what decides nothing */
export function checkDecision(side: Side, migrationId: string, decision: Decision): void {
  checkName(side, migrationId);
  checkOneOf('decision', decision, ['committed', 'aborted']);
}

const KEPT_DECISIONS = 1000;

/** @internal What the journal comes to, over its lines in the order in which they were written. */
export class JournalEntries {
  readonly #entries = new Map<string, JournalEntry>();
  /** Undecided ones, of which no decision can have been lost so far. */
  readonly #open = new Set<string>();
  /** Those of which a decision may have been lost; what comes behind it may not be the first. */
  readonly #doubted = new Set<string>();

  /** Whether a decision may have been lost. */
  get inDoubt(): boolean {
    return this.#doubted.size > 0;
  }

  add(line: JournalEntry): void {
    const key = keyOf(line.side, line.migrationId);
    const before = this.#entries.get(key);
    if (this.#doubted.has(key) || (before !== undefined && before.state !== 'pending')) return;
    // What is decided stands behind what was decided before it, whenever it was begun.
    if (line.state !== 'pending') this.#entries.delete(key);
    this.#entries.set(key, line);
    if (line.state === 'pending') this.#open.add(key);
    else this.#open.delete(key);
  }

  /** Takes note of a line that cannot be read any more: it may have been the decision about anything undecided by then. */
  addDamaged(): void {
    if (this.#open.size === 0) return;
    for (const key of this.#open) this.#doubted.add(key);
    this.#open.clear();
  }

  /** @throws HtabError `ERR_HTAB_IN_DOUBT` if a decision about it may have been lost */
  find(side: Side, migrationId: string): JournalEntry | undefined {
    const key = keyOf(side, migrationId);
    if (!this.#doubted.has(key)) return this.#entries.get(key);
    throw inDoubt(
      `the journal has a damaged line, which may be the decision about migration ${migrationId} at the ${side}`,
      'find out where its guest is before it is run anywhere, and begin another journal',
    );
  }

  /** Of one side, the newest last. */
  of(side: Side): JournalEntry[] {
    return [...this.#entries.values()].filter((entry) => entry.side === side);
  }

  /** Everything undecided, and the last decisions: a source that asks for an older one is told that it is not known. */
  worthKeeping(): JournalEntry[] {
    const entries = [...this.#entries.values()];
    const decided = entries.filter(({ state }) => state !== 'pending');
    const dropped = new Set(decided.slice(0, -KEPT_DECISIONS));
    return entries.filter((entry) => !dropped.has(entry));
  }

  /** What is to be decided. */
  due(side: Side, migrationId: string): JournalEntry {
    const entry = this.find(side, migrationId);
    if (entry !== undefined) return entry;
    throw migrationError(`the journal knows of no migration ${migrationId} at the ${side}`);
  }
}

function keyOf(side: Side, migrationId: string): string {
  return `${side} ${migrationId}`;
}

/** A journal that ends with the process: its decisions hold as long as somebody can be asked. */
export class MemoryJournal implements Journal {
  readonly #entries = new JournalEntries();

  entries(side: Side): Promise<JournalEntry[]> {
    return Promise.resolve(this.#entries.of(side));
  }

  // Asynchronous, so that what they refuse is a rejection.
  // eslint-disable-next-line @typescript-eslint/require-await
  async find(side: Side, migrationId: string): Promise<JournalEntry | undefined> {
    checkName(side, migrationId);
    return this.#entries.find(side, migrationId);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async begin(record: JournalRecord): Promise<void> {
    checkRecord(record);
    const { side, migrationId } = record;
    this.#entries.add({ ...record, state: 'pending' });
    if (this.#entries.due(side, migrationId).state !== 'pending') throw nameTwice(migrationId);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async decide(side: Side, migrationId: string, decision: Decision): Promise<Decision> {
    checkDecision(side, migrationId, decision);
    const entry = this.#entries.due(side, migrationId);
    if (entry.state === 'pending') this.#entries.add({ ...entry, state: decision });
    return entry.state === 'pending' ? decision : entry.state;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
