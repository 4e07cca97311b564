import { crc32 } from 'node:zlib';
import { HtabError } from '../errors.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { HeaderByteOrder } from '../format/header.js';
import type { BackendName } from '../vm/contract.js';

/**
 * What source and destination say to each other, and its bytes.
 *
 * A frame is a header of 16 bytes, all fields big-endian, and a payload:
 *
 * | bytes | field                                                              |
 * |-------|--------------------------------------------------------------------|
 * | 0-1   | 0x4b48, `KH`                                                       |
 * | 2     | type, see `TYPES`                                                  |
 * | 3     | 0                                                                  |
 * | 4-7   | payload length: at most 1 MiB for `data`, 4 KiB for anything else  |
 * | 8-11  | sequence number: frames of one direction count from 0              |
 * | 12-15 | CRC32 of bytes 0-11 and the payload                                |
 *
 * The payload of `data` is whole records of the HTAB stream (kernel-abi.md 2.1); of every other type, a JSON object.
 * Unknown fields in it are ignored. Frame header, `hello` and `abort` are the same in every version, so that two
 * versions can tell each other apart by name.
 *
 * | source                        | destination                                              |
 * |-------------------------------|----------------------------------------------------------|
 * | `hello`                       | `welcome`, once its table stands empty                   |
 * | `pass-begin`                  |                                                          |
 * | `data`, any number            | `applied`, for each, in order                            |
 * | `pass-end` with its counts    |                                                          |
 * | ... more passes ...           |                                                          |
 * | `prepare` with the digest     | `prepared` with that of its own table, read back         |
 * | `commit`                      | `committed`                                              |
 * | `heartbeat`, while it works   | `abort` from either side, at any moment before `commit`  |
 */
export const PROTOCOL_VERSION = 1;

export const FRAME_HEADER_BYTES = 16;
/** Longest payload of a `data` frame. */
export const MAX_DATA_BYTES = 1 << 20;
/** Longest payload of any other frame. */
export const MAX_CONTROL_BYTES = 4096;

const PROTOCOL_NAME = 'kvm-htab';
const FRAME_MAGIC = 0x4b48;

const TYPES = {
  hello: 1,
  welcome: 2,
  'pass-begin': 3,
  data: 4,
  applied: 5,
  'pass-end': 6,
  prepare: 7,
  prepared: 8,
  commit: 9,
  committed: 10,
  abort: 11,
  heartbeat: 12,
} as const;

/** The first thing the source says. */
export interface Hello {
  readonly type: 'hello';
  readonly protocol: string;
  readonly version: number;
  /** Names this migration on both sides and in what they record. */
  readonly migrationId: string;
  /** log2 of the table's bytes, 18..36. */
  readonly order: number;
  /** Byte order of the headers in `data`. */
  readonly headerByteOrder: HeaderByteOrder;
  readonly backend: BackendName;
}

/** Entries and bytes of one pass. */
export interface PassCounts {
  /** HPTEs sent. */
  readonly validEntries: number;
  /** Entries sent as invalid; in the first pass, all that are empty. */
  readonly invalidEntries: number;
  /** Record bytes, without frame headers. */
  readonly bytes: number;
}

export type Message =
  | Hello
  | { readonly type: 'welcome'; readonly backend: BackendName }
  | { readonly type: 'pass-begin'; readonly pass: number }
  | { readonly type: 'data'; readonly records: Uint8Array }
  | { readonly type: 'applied'; readonly sequence: number }
  | ({ readonly type: 'pass-end'; readonly pass: number } & PassCounts)
  | { readonly type: 'prepare'; readonly digest: string; readonly validEntries: number }
  | { readonly type: 'prepared'; readonly digest: string }
  | { readonly type: 'commit' }
  | { readonly type: 'committed' }
  | { readonly type: 'abort'; readonly code: string; readonly reason: string }
  | { readonly type: 'heartbeat' };

export type MessageType = Message['type'];

type Check = (value: unknown) => boolean;

const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isText: Check = (value) => typeof value === 'string' && value.length <= 1024;
const isDigest: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
const isOrder: Check = (value) =>
  isCount(value) && (value as number) >= MIN_ORDER && (value as number) <= MAX_STREAM_ORDER;
const isBackend: Check = (value) => value === 'kvm' || value === 'emulated' || value === 'image';
const isByteOrder: Check = (value) => value === 'LE' || value === 'BE';

/** What a peer must say in each message, and what is checked of it: exactly the fields of `Message`. */
const FIELDS: Readonly<Record<MessageType, Readonly<Record<string, Check>>>> = {
  hello: {
    protocol: isText,
    version: isCount,
    migrationId: isText,
    order: isOrder,
    headerByteOrder: isByteOrder,
    backend: isBackend,
  },
  welcome: { backend: isBackend },
  'pass-begin': { pass: isCount },
  data: { records: () => true },
  applied: { sequence: isCount },
  'pass-end': { pass: isCount, validEntries: isCount, invalidEntries: isCount, bytes: isCount },
  prepare: { digest: isDigest, validEntries: isCount },
  prepared: { digest: isDigest },
  commit: {},
  committed: {},
  abort: { code: isText, reason: isText },
  heartbeat: {},
} satisfies { [M in Message as M['type']]: Record<Exclude<keyof M, 'type'>, Check> };

const typeNames = new Map(
  Object.entries(TYPES).map(([name, number]) => [number as number, name as MessageType]),
);

/** What a frame's header announces. */
export interface FrameHeader {
  readonly type: MessageType;
  /** Payload bytes that follow, within the limit for the type. */
  readonly length: number;
  readonly sequence: number;
  /** CRC32 of the header's first 12 bytes, to be carried on over the payload. */
  readonly headerCrc: number;
  /** What it must come to. */
  readonly crc: number;
}

/** The `hello` of a source that speaks this version. */
export function hello(about: Omit<Hello, 'type' | 'protocol' | 'version'>): Hello {
  return { type: 'hello', protocol: PROTOCOL_NAME, version: PROTOCOL_VERSION, ...about };
}

/**
 * A message as it goes over the wire. The payload of `data` is the caller's own memory, not a copy.
 *
 * @throws RangeError if the payload is longer than a frame may be
 */
export function encodeFrame(message: Message, sequence: number): { header: Buffer; payload: Uint8Array } {
  const { type } = message;
  const payload = type === 'data' ? message.records : encodeFields(message);
  if (payload.length > payloadLimit(type)) {
    throw new RangeError(`a ${type} frame cannot hold ${payload.length} bytes`);
  }
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt16BE(FRAME_MAGIC, 0);
  header.writeUInt8(TYPES[type], 2);
  header.writeUInt32BE(payload.length, 4);
  header.writeUInt32BE(sequence, 8);
  header.writeUInt32BE(crc32(payload, crc32(header.subarray(0, 12))), 12);
  return { header, payload };
}

/**
 * Reads a frame's header; nothing more of the frame is needed to know whether it may go on.
 *
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer does not speak this protocol or announces too much
 */
export function decodeHeader(header: Buffer): FrameHeader {
  const type = typeNames.get(header.readUInt8(2));
  if (header.readUInt16BE(0) !== FRAME_MAGIC || header.readUInt8(3) !== 0 || type === undefined) {
    throw migrationError(`the peer sent ${header.toString('hex')}, which begins no frame of this protocol`);
  }
  const length = header.readUInt32BE(4);
  if (length > payloadLimit(type)) {
    throw migrationError(
      `the peer announced ${type} with ${length} bytes; ${payloadLimit(type)} are allowed`,
    );
  }
  return {
    type,
    length,
    sequence: header.readUInt32BE(8),
    headerCrc: crc32(header.subarray(0, 12)),
    crc: header.readUInt32BE(12),
  };
}

/**
 * Turns a frame into its message. The records of `data` stay in `payload`.
 *
 * @throws HtabError `ERR_HTAB_MIGRATION` if the frame is damaged or does not say what its type must
 */
export function decodePayload(header: FrameHeader, payload: Buffer): Message {
  const { type, sequence } = header;
  if (crc32(payload, header.headerCrc) !== header.crc) {
    throw migrationError(`frame ${sequence} (${type}) was damaged on its way: its CRC32 is wrong`);
  }
  if (type === 'data') return { type, records: payload };
  const fields = parseObject(payload);
  if (fields === undefined) throw migrationError(`frame ${sequence} (${type}) holds no JSON object`);
  if (type === 'hello') refuseOtherVersions(fields);
  const known = Object.entries(FIELDS[type]).map(([name, check]) => {
    if (!check(fields[name])) throw migrationError(`frame ${sequence} (${type}) lacks a valid "${name}"`);
    return [name, fields[name]];
  });
  // Exactly the fields that the type's message has, each checked.
  return { ...Object.fromEntries(known), type } as Message;
}

/** An error of the migration itself: the peer, the connection or the way it went. */
export function migrationError(message: string, cause?: unknown): HtabError {
  return new HtabError('ERR_HTAB_MIGRATION', message, cause === undefined ? undefined : { cause });
}

function payloadLimit(type: MessageType): number {
  return type === 'data' ? MAX_DATA_BYTES : MAX_CONTROL_BYTES;
}

function encodeFields({ type: _type, ...fields }: Message): Buffer {
  return Buffer.from(JSON.stringify(fields));
}

function parseObject(payload: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(payload.toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function refuseOtherVersions(fields: Readonly<Record<string, unknown>>): void {
  if (fields['protocol'] !== PROTOCOL_NAME)
    throw migrationError('the peer does not say hello as kvm-htab does');
  if (fields['version'] !== PROTOCOL_VERSION) {
    const version = isCount(fields['version']) ? String(fields['version']) : 'unknown';
    throw migrationError(
      `the source speaks protocol version ${version}, the destination version ${PROTOCOL_VERSION}`,
    );
  }
}
