import type { FileHandle } from 'node:fs/promises';
import { formatLine } from '../../../lib/migration/journal/journal-lines.js';
import { JournalReader } from '../../../lib/migration/journal/journal-reader.js';
import type { JournalEntries } from '../../../lib/migration/journal/journal-entries.js';
import type {
  Decision,
  Journal,
  JournalEntry,
  JournalRecord,
  Side,
} from '../../../lib/migration/journal/journal.js';

const OTHER: Readonly<Record<Side, Side>> = { source: 'destination', destination: 'source' };

/** In an id, a J is one bit away from a newline. */
export const IDS = ['J-1', 'J-2', 'never-begun'] as const;

export function entry(side: Side, migrationId: string, state: JournalEntry['state']): JournalEntry {
  return { migrationId, side, state, order: 18, digest: (migrationId === 'J-1' ? 'ab' : 'cd').repeat(32) };
}

/** Journals of 1 to 4 lines about one side. */
export function journalsOf(side: Side): Readonly<Record<string, readonly JournalEntry[]>> {
  const [a, b] = IDS;
  const pending = entry(side, a, 'pending');
  return {
    'one line, pending': [pending],
    'two lines, committed': [pending, entry(side, a, 'committed')],
    'two lines, aborted': [pending, entry(side, a, 'aborted')],
    'three lines, one committed and one pending': [
      pending,
      entry(side, a, 'committed'),
      entry(side, b, 'pending'),
    ],
    'four lines, two at once': [
      pending,
      entry(side, b, 'pending'),
      entry(side, b, 'aborted'),
      entry(side, a, 'committed'),
    ],
    'four lines, both sides of one migration': [
      entry(OTHER[side], a, 'pending'),
      pending,
      entry(side, a, 'committed'),
      entry(OTHER[side], a, 'aborted'),
    ],
  };
}

/** What is true of each migration at a side. */
export function truthOf(lines: readonly JournalEntry[], side: Side): Map<string, JournalEntry['state']> {
  const truth = new Map<string, JournalEntry['state']>();
  for (const line of lines) if (line.side === side) truth.set(line.migrationId, line.state);
  return truth;
}

/** A journal as it stands in these bytes, and its lines' ends. */
export function bytesOf(lines: readonly JournalEntry[]): { bytes: Buffer; ends: readonly number[] } {
  const ends = [0];
  const parts = lines.map(formatLine);
  for (const part of parts) ends.push(ends.at(-1)! + part.length);
  return { bytes: Buffer.concat(parts), ends };
}

/** What a process makes of a journal of these bytes that it opens, without a disk: nothing is written to them. */
export class JournalOfBytes implements Journal {
  readonly #entries: JournalEntries;

  private constructor(entries: JournalEntries) {
    this.#entries = entries;
  }

  static async open(bytes: Buffer): Promise<JournalOfBytes> {
    const read = (into: Buffer, offset: number, length: number, position: number): unknown =>
      Promise.resolve({ bytesRead: bytes.copy(into, offset, position, position + length) });
    const reader = new JournalReader('J');
    // As a file is, by a process that opens it: it looks twice at an end that is not that of a line.
    for (let reads = 0; reads < 2; reads++) {
      await reader.readTo(bytes.length, { read } as unknown as FileHandle);
    }
    return new JournalOfBytes(reader.entries);
  }

  // Asynchronous, so that what they refuse is a rejection.
  // eslint-disable-next-line @typescript-eslint/require-await
  async entries(side: Side): Promise<JournalEntry[]> {
    return this.#entries.of(side);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async find(side: Side, migrationId: string): Promise<JournalEntry | undefined> {
    return this.#entries.find(side, migrationId);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async begin(record: JournalRecord): Promise<void> {
    this.#entries.checkBegin(record.side, record.migrationId);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async decide(side: Side, migrationId: string, decision: Decision): Promise<Decision> {
    const { state } = this.#entries.due(side, migrationId);
    return state === 'pending' ? decision : state;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
