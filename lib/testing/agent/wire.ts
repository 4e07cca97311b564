import type { Duplex } from 'node:stream';
import { isBoolean, isCount, isText } from '../../frames/fields.js';
import { brokenConnectionError, migrationError } from '../../migration/errors.js';
import { MessageLink, type MessagesOf } from '../../transport/message-link.js';

const MEMORY_VERSION = 1;
/** Smallest page of a guest; what a `pages` frame covers begins and ends on its multiples. */
export const UNIT_BYTES = 4096;
/** Most contents of a `pages` frame. */
export const ZEROS = Buffer.alloc(2 ** 20);
const PAGES_HEADER_BYTES = 16;

/**
 * What two agents exchange as JSON objects: `hello` (whose memory comes, and how many bytes it has) is answered with
 * `welcome` (`keeps`: every page has come here once, and what has been confirmed need not come again); `round` (the pages of
 * a dirty log have been sent) with `applied`, once they are in their place.
 */
const checks = {
  hello: { version: isCount, name: isText, bytes: isCount },
  welcome: { keeps: isBoolean },
  round: {},
  applied: {},
};

export type Messages = MessagesOf<typeof checks>;
/** The connection of two agents. What is lost, silent or damaged is a broken connection's error. */
export type MemoryLink = MessageLink<Messages, 'pages'>;

/**
 * The frames are those of {@link Messages}, and from the source `pages`: the guest address of the first byte and how many
 * bytes, 64 bits big-endian each, then these bytes, or nothing if all are zeros.
 */
export function memoryLink(channel: Duplex): MemoryLink {
  return new MessageLink(channel, {
    magic: 0x4b4d,
    timeoutMs: 30_000,
    checks,
    others: { pages: PAGES_HEADER_BYTES + ZEROS.length },
    broken: (reason, cause) => brokenConnectionError(`memory connection: ${reason}`, cause),
    invalid: invalidError,
    refused: (reason) => migrationError(`the other agent refuses the memory: ${reason}`),
  });
}

/** What the source of this migration says, of a guest with so much memory. */
export function helloOf(name: string, bytes: number): Messages['hello'] {
  return { version: MEMORY_VERSION, name, bytes };
}

/** @param contents `length` bytes, or none: all are zeros */
export function encodePages(address: number, length: number, contents: Uint8Array): Buffer {
  const header = Buffer.alloc(PAGES_HEADER_BYTES);
  header.writeBigUInt64BE(BigInt(address));
  header.writeBigUInt64BE(BigInt(length), 8);
  return Buffer.concat([header, contents]);
}

/**
 * @returns where the pages begin and end, and their contents: nothing, if they are zeros
 * @throws HtabError `ERR_HTAB_MIGRATION` for anything but whole pages of a memory of so many bytes
 */
export function decodePages(payload: Buffer, bytes: number): [start: number, end: number, contents: Buffer] {
  if (payload.length < PAGES_HEADER_BYTES) throw invalidError(`pages of ${payload.length} bytes`);
  const [start, length] = [Number(payload.readBigUInt64BE()), Number(payload.readBigUInt64BE(8))];
  const contents = payload.subarray(PAGES_HEADER_BYTES);
  const isWhole = length > 0 && start % UNIT_BYTES === 0 && length % UNIT_BYTES === 0;
  const fits = contents.length === 0 || contents.length === length;
  // Numbers of 64 bits: a sum that is not exact is beyond every memory.
  if (isWhole && fits && start + length <= bytes) return [start, start + length, contents];
  throw invalidError(`${contents.length} bytes for the ${length} from ${start} on, of ${bytes}`);
}

export function invalidError(what: string): Error {
  return migrationError(`invalid data on the memory connection: ${what}`);
}
