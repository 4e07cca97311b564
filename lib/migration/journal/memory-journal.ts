import { JournalEntries } from './journal-entries.js';
import {
  type Journal,
  type Side,
  type JournalEntry,
  checkJournalKey,
  type JournalRecord,
  checkJournalRecord,
  type Decision,
  checkDecision,
} from './journal.js';

/** A journal that ends with the process: its decisions hold as long as the process can be asked. */
export class MemoryJournal implements Journal {
  readonly #entries = new JournalEntries();

  entries(side: Side): Promise<JournalEntry[]> {
    return Promise.resolve(this.#entries.of(side));
  }

  // Asynchronous, so that what they refuse is a rejection.
  // eslint-disable-next-line @typescript-eslint/require-await
  async find(side: Side, migrationId: string): Promise<JournalEntry | undefined> {
    checkJournalKey(side, migrationId);
    return this.#entries.find(side, migrationId);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async begin(record: JournalRecord): Promise<void> {
    checkJournalRecord(record);
    const { side, migrationId } = record;
    this.#entries.checkBegin(side, migrationId);
    this.#entries.add({ ...record, state: 'pending' });
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
