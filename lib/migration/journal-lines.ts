import { crc32 } from 'node:zlib';
import { type FieldChecks, isCount, isDigest, isOneOf, isText, isWithin } from '../framing/fields.js';
import { parseFields, pickFields } from '../framing/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import { migrationError } from './failure.js';
import type { JournalEntry } from './journal.js';
import { isMigrationId } from './protocol.js';

/** The end of a file: it goes on in another, which has all that counts of it. */
export interface Seal {
  /** Name of that file, in the same folder, until it takes this one's. */
  readonly continuedIn: string;
  /** Bytes of this file that are in it. The seal holds only if it stands right behind them. */
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

/** Checksum, blank and `{}`. */
const MIN_LINE = 11;

/** What a write that was cut has left, if anything, and the start of the line behind it. */
const CUT = /^(#*|[\da-f]{1,8}|[\da-f]{8} (\{[^{}]*\}?)?)#$/;

/**
 * What stands in a line. Nothing, if its write was cut: nobody has been told of it. One that is there to its end, and is
 * not as it was written, was damaged later: somebody may have been told what it said.
 *
 * @param text without its newline, a character for each byte
 */
export function parseLine(text: string): JournalEntry | Seal | 'damaged' | undefined {
  if (text.endsWith('#') && CUT.test(text)) return undefined;
  // Before anything is worked out: a file can be full of lines that are none of ours.
  if (text.length < MIN_LINE) return 'damaged';
  const json = Buffer.from(text.slice(9), 'latin1');
  if (text.slice(0, 9) !== `${checksum(json)} `) return 'damaged';
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
