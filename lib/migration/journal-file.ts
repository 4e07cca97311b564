import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { type FieldChecks, isDigest, isOneOf, isWithin, parseFields, pickFields } from '../framing/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { fileCall } from '../node/file-call.js';
import { inDoubt, migrationError } from './failure.js';
import {
  JournalEntries,
  type Decision,
  type Journal,
  type JournalEntry,
  type JournalRecord,
  type Side,
} from './journal.js';
import { isValidMigrationId } from './protocol.js';

const LINE_FIELDS: FieldChecks<JournalEntry> = {
  migrationId: (value) => typeof value === 'string' && isValidMigrationId(value),
  side: isOneOf('source', 'destination'),
  state: isOneOf('pending', 'committed', 'aborted'),
  order: isWithin(MIN_ORDER, MAX_STREAM_ORDER),
  digest: isDigest,
};

const OWNER_ONLY = 0o600;
/** What is longer is no journal of ours: a migration takes some 500 bytes. */
const MAX_JOURNAL_BYTES = 64 << 20;
const READ_BYTES = 64 << 10;
const NEWLINE = 10;

/**
 * Opens a journal, or begins one. The file is text: per line the CRC32 of a JSON object and the object, which says what
 * was begun or decided. Lines are only ever appended, each in one write(2), and the first decision in the file is the
 * one that stands: so any number of processes of one machine may share it.
 *
 * A line that was cut by a crash does not count, and does not harm the next one.
 *
 * @throws HtabSystemError if the file cannot be opened
 * @throws HtabError `ERR_HTAB_MIGRATION` if it is longer than a journal gets
 */
export async function openJournal(file: string): Promise<Journal> {
  const operation = `open the journal ${file}`;
  const handle = await fileCall(operation, open(file, 'a+', OWNER_ONLY));
  try {
    await fileCall(operation, handle.sync());
    const folder = await fileCall(operation, open(path.dirname(file), 'r'));
    try {
      await fileCall(operation, folder.sync());
    } finally {
      await folder.close();
    }
    const journal = new FileJournal(handle, file);
    await journal.pending('source');
    return journal;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

class FileJournal implements Journal {
  readonly #handle: FileHandle;
  readonly #file: string;
  readonly #entries = new JournalEntries();
  /** How much of the file has been read, up to the end of a line. */
  #position = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #failure: Error | undefined;

  constructor(handle: FileHandle, file: string) {
    this.#handle = handle;
    this.#file = file;
  }

  pending(side: Side): Promise<JournalEntry[]> {
    return this.#inTurn(async () => {
      await this.#readOn();
      return this.#entries.pending(side);
    });
  }

  find(side: Side, migrationId: string): Promise<JournalEntry | undefined> {
    return this.#inTurn(async () => {
      await this.#readOn();
      return this.#entries.find(side, migrationId);
    });
  }

  begin(record: JournalRecord): Promise<void> {
    return this.#inTurn(async () => {
      await this.#append({ ...record, state: 'pending' });
    });
  }

  decide(side: Side, migrationId: string, decision: Decision): Promise<Decision> {
    return this.#inTurn(async () => {
      await this.#readOn();
      const entry = this.#entries.due(side, migrationId);
      // Also where it has been decided: what another process wrote may not be on the disk yet, and is about to be told.
      await this.#append({ ...entry, state: entry.state === 'pending' ? decision : entry.state });
      const { state } = this.#entries.due(side, migrationId);
      return state === 'pending' ? decision : state;
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#tail.then(
      () => this.#handle.close(),
      () => this.#handle.close(),
    );
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(() => {
      if (this.#failure !== undefined) throw this.#failure;
      return job();
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** Appends a line, makes sure of it, and takes in what stands before it and itself. */
  async #append(line: JournalEntry): Promise<void> {
    const operation = `write to the journal ${this.#file}`;
    const { migrationId, side, state, order, digest } = line;
    const json = JSON.stringify({ migrationId, side, state, order, digest });
    // The newline before it ends what a crash may have cut.
    const bytes = Buffer.from(`\n${checksum(json)} ${json}\n`);
    const { bytesWritten } = await fileCall(operation, this.#handle.write(bytes));
    if (bytesWritten < bytes.length) {
      throw migrationError(
        `${operation}: only ${bytesWritten} of ${bytes.length} bytes were taken; is the disk full?`,
      );
    }
    try {
      await fileCall(operation, this.#handle.datasync());
    } catch (error) {
      // After a failed fsync nobody knows what the disk has, and a second one would succeed without it.
      this.#failure = inDoubt(
        `whether migration ${migrationId} is written down as ${state} at the ${side} cannot be known`,
        `look at the disk and at ${this.#file} before the guest is run anywhere`,
        error,
      );
      throw this.#failure;
    }
    await this.#readOn();
  }

  /** Takes in the lines that have been written since. */
  async #readOn(): Promise<void> {
    const operation = `read the journal ${this.#file}`;
    const { size } = await fileCall(operation, this.#handle.stat());
    if (size > MAX_JOURNAL_BYTES) {
      throw migrationError(`${this.#file} has ${size} bytes, which is more than a journal gets`);
    }
    const buffer = Buffer.alloc(Math.min(READ_BYTES, Math.max(0, size - this.#position)));
    while (this.#position < size) {
      const { bytesRead } = await fileCall(
        operation,
        this.#handle.read(buffer, 0, buffer.length, this.#position),
      );
      const end = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      // Without a newline: what somebody is just writing, or, if the buffer is full of it, no line of ours.
      if (end === 0 && bytesRead < READ_BYTES) return;
      for (const text of buffer.toString('utf8', 0, end).split('\n')) {
        const line = parseLine(text);
        if (line !== undefined) this.#entries.add(line);
      }
      this.#position += end === 0 ? bytesRead : end;
    }
  }
}

function checksum(json: string): string {
  return crc32(json).toString(16).padStart(8, '0');
}

/** A line as it was written; undefined for one that was cut, or is not ours. */
function parseLine(text: string): JournalEntry | undefined {
  const json = text.slice(9);
  if (text.length < 10 || text.slice(0, 9) !== `${checksum(json)} `) return undefined;
  const fields = parseFields(Buffer.from(json));
  if (fields === undefined) return undefined;
  try {
    return pickFields(fields, LINE_FIELDS, (name) => migrationError(name));
  } catch {
    return undefined;
  }
}
