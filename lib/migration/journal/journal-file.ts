import { checkPath } from '../../base/arguments.js';
import { HtabStateError } from '../../base/errors.js';
import { inDoubtError, duplicateIdError } from '../errors.js';
import {
  checkDecision,
  checkJournalKey,
  checkJournalRecord,
  type Decision,
  type Journal,
  type JournalEntry,
  type JournalRecord,
  type Side,
} from './journal.js';
import { JournalLog } from './journal-log.js';

/**
 * Opens a journal, or begins one. The file is text: per line the CRC32 of a JSON object and the object, which says what
 * was begun or decided. The first decision in the file is the one that stands: so any number of processes of one machine
 * may share it.
 *
 * A line that was cut by a crash does not count, and does not harm the next one. What a damaged line may have said, or a
 * cut one that had been whole, is in doubt: every answer says so, with the line and its byte, and claims no more than
 * the whole lines prove. A file that has lost its last lines whole cannot be told from one that never had them.
 *
 * A file that has grown long is continued in a short one, which has everything undecided and the last 1000 decisions.
 *
 * @throws HtabSystemError if the file cannot be opened
 * @throws HtabError `ERR_HTAB_MIGRATION` if it is something else than a journal, or longer than one gets
 *
 * @example
 * await using journal = await openJournal('/var/lib/agent/journal');
 */
export async function openJournal(file: string): Promise<Journal> {
  checkPath('file', file);
  return new FileJournal(await JournalLog.open(file), file);
}

class FileJournal implements Journal {
  readonly #log: JournalLog;
  readonly #file: string;
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(log: JournalLog, file: string) {
    this.#log = log;
    this.#file = file;
  }

  entries(side: Side): Promise<JournalEntry[]> {
    return this.#inTurn(async () => {
      await this.#log.readOn();
      return this.#log.entries.of(side);
    });
  }

  find(side: Side, migrationId: string): Promise<JournalEntry | undefined> {
    return this.#inTurn(async () => {
      checkJournalKey(side, migrationId);
      await this.#log.readOn();
      return this.#log.entries.find(side, migrationId);
    });
  }

  begin(record: JournalRecord): Promise<void> {
    const { side, migrationId } = record;
    return this.#inTurn(async () => {
      checkJournalRecord(record);
      await this.#log.readOn();
      this.#log.entries.checkBegin(side, migrationId);
      await this.#append({ ...record, state: 'pending' });
      const entry = this.#log.entries.find(side, migrationId);
      if (entry === undefined)
        throw this.#fail({ ...record, state: 'pending' }, 'it is not there to be read');
      if (entry.state !== 'pending') throw duplicateIdError(migrationId);
    });
  }

  decide(side: Side, migrationId: string, decision: Decision): Promise<Decision> {
    const decided = this.#inTurn(async () => {
      checkDecision(side, migrationId, decision);
      await this.#log.readOn();
      const entry = this.#log.entries.due(side, migrationId);
      // Also where it has been decided: what another process wrote may not be on the disk yet, and is about to be told.
      await this.#append({ ...entry, state: entry.state === 'pending' ? decision : entry.state });
      const { state } = this.#log.entries.due(side, migrationId);
      if (state === 'pending') throw this.#fail({ ...entry, state: decision }, 'it is not there to be read');
      return state;
    });
    // No decision waits for this; its outcome shows in the next call, if it matters at all.
    this.#inTurn(() => this.#log.compact()).catch(() => undefined);
    return decided;
  }

  close(): Promise<void> {
    this.#closing ??= this.#tail.then(
      () => this.#log.close(),
      () => this.#log.close(),
    );
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) {
      return Promise.reject(new HtabStateError('closed', `the journal ${this.#file} is closed`));
    }
    const result = this.#tail.then(() => {
      if (this.#failure !== undefined) throw this.#failure;
      return job();
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  #append(line: JournalEntry): Promise<void> {
    return this.#log.append(line, (cause) => this.#fail(line, cause));
  }

  /** After a failed fsync it is not known what the disk has, and a second one would succeed without it. */
  #fail({ migrationId, side, state }: JournalEntry, cause: unknown): Error {
    this.#failure = inDoubtError(
      `it is not known whether the journal has migration ${migrationId} as ${state} at the ${side}`,
      `check the disk and ${this.#file} before the guest is run anywhere`,
      cause,
    );
    return this.#failure;
  }
}
