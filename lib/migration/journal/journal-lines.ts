import { crc32 } from 'node:zlib';
import { type FieldChecks, isCount, isDigest, isOneOf, isText, isWithin } from '../../frames/fields.js';
import { parseFields, pickFields } from '../../frames/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { migrationError } from '../errors.js';
import { isMigrationId } from '../migration-id.js';
import type { JournalEntry } from './journal.js';

/** The end of a file: it goes on in another, which has all that counts of it. */
export interface Seal {
  /** Name of that file, in the same folder, until it takes this one's. */
  readonly continuedIn: string;
  /** Bytes of this file that it contains. The seal holds only if it follows them directly. */
  readonly bytes: number;
}

const ENTRY_FIELDS: FieldChecks<JournalEntry> = {
  migrationId: isMigrationId,
  side: isOneOf('source', 'destination'),
  state: isOneOf('pending', 'committed', 'aborted'),
  order: isWithin(MIN_ORDER, MAX_STREAM_ORDER),
  digest: isDigest,
};
const SEAL_FIELDS: FieldChecks<Seal> = {
  continuedIn: (value) => isText(value) && !value.includes('/'),
  bytes: isCount,
};

/** Before every line: one that was cut by a crash, or a full disk, does not become whole by what follows it. */
export const LINE_START = '#\n';

/** A line as it is appended. */
export function formatLine(line: JournalEntry | Seal): Buffer {
  const json = JSON.stringify('state' in line ? entryFields(line) : line);
  return Buffer.from(`${LINE_START}${checksum(json)} ${json}\n`);
}

/** The checksum and the blank after it. */
const CHECKSUM_CHARACTERS = 9;
/** Of these, and `{}`. */
const MIN_LINE = 11;

/** What is left of a line that was cut, if anything is. */
const CUT = /^(#*|[\da-f]{1,8}|[\da-f]{8} (\{[^{}]*\}?)?)$/;

/**
 * What was cut in a line: the write of it was, and the next one began right there, with its own start.
 *
 * @param text without its newline, a character for each byte
 * @returns undefined for any other line; of a line that is nothing but a start, nothing
 */
export function cutIn(text: string): string | undefined {
  return text.endsWith('#') && isCut(text.slice(0, -1)) ? text.slice(0, -1) : undefined;
}

/** Whether this is what is left of a line that was cut. */
export function isCut(text: string): boolean {
  return CUT.test(text);
}

/**
 * What stands in a whole line. One that is not as it was written was damaged later: what it said may have been acted upon.
 *
 * @param text without its newline, a character for each byte
 */
export function parseLine(text: string): JournalEntry | Seal | 'damaged' {
  // Before anything is worked out: a file can be full of lines that are none of ours.
  if (text.length < MIN_LINE) return 'damaged';
  const json = Buffer.from(text.slice(CHECKSUM_CHARACTERS), 'latin1');
  if (text.slice(0, CHECKSUM_CHARACTERS) !== `${checksum(json)} `) return 'damaged';
  const fields = parseFields(json);
  if (fields === undefined) return 'damaged';
  try {
    const refuse = (name: string): Error => migrationError(name);
    if ('continuedIn' in fields) return pickFields(fields, SEAL_FIELDS, refuse);
    return pickFields(fields, ENTRY_FIELDS, refuse);
  } catch {
    return 'damaged';
  }
}

function entryFields({ migrationId, side, state, order, digest }: JournalEntry): JournalEntry {
  return { migrationId, side, state, order, digest };
}

function checksum(json: string | Buffer): string {
  return crc32(json).toString(16).padStart(8, '0');
}
