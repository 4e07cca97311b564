import { crc32 } from 'node:zlib';
import { type FieldChecks, isCount, isDigest, isOneOf, isText, isWithin } from '../framing/fields.js';
import { parseFields, pickFields } from '../framing/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { migrationError } from './failure.js';
import type { JournalEntry } from './journal.js';
import { isValidMigrationId } from './protocol.js';

/** The end of a file: it goes on in another, which has all that counts of it. */
export interface Seal {
  /** Name of that file, in the same folder, until it takes this one's. */
  readonly continuedIn: string;
  /** Bytes of this file that are in it. The seal holds only if it stands right behind them. */
  readonly bytes: number;
}

const ENTRY_FIELDS: FieldChecks<JournalEntry> = {
  migrationId: (value) => typeof value === 'string' && isValidMigrationId(value),
  side: isOneOf('source', 'destination'),
  state: isOneOf('pending', 'committed', 'aborted'),
  order: isWithin(MIN_ORDER, MAX_STREAM_ORDER),
  digest: isDigest,
};
const SEAL_FIELDS: FieldChecks<Seal> = {
  continuedIn: (value) => isText(value) && !String(value).includes('/'),
  bytes: isCount,
};

/** Before every line: one that was cut by a crash, or a full disk, does not become whole by what follows it. */
export const LINE_START = '#\n';

/** A line as it is appended. */
export function formatLine(line: JournalEntry | Seal): Buffer {
  const json = JSON.stringify('state' in line ? entryFields(line) : line);
  return Buffer.from(`${LINE_START}${checksum(json)} ${json}\n`);
}

/**
 * What stands in a line; undefined for one that was cut, or is not ours.
 *
 * @param text without its newline, a character for each byte
 */
export function parseLine(text: string): JournalEntry | Seal | undefined {
  const json = Buffer.from(text.slice(9), 'latin1');
  if (text.length < 10 || text.slice(0, 9) !== `${checksum(json)} `) return undefined;
  const fields = parseFields(json);
  if (fields === undefined) return undefined;
  try {
    const refuse = (name: string): Error => migrationError(name);
    if ('continuedIn' in fields) return pickFields(fields, SEAL_FIELDS, refuse);
    return pickFields(fields, ENTRY_FIELDS, refuse);
  } catch {
    return undefined;
  }
}

function entryFields({ migrationId, side, state, order, digest }: JournalEntry): JournalEntry {
  return { migrationId, side, state, order, digest };
}

function checksum(json: string | Buffer): string {
  return crc32(json).toString(16).padStart(8, '0');
}
