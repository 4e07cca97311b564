import {
  type FieldCheck,
  type FieldChecks,
  encodeFields,
  parseFields,
  pickFields,
} from '../framing/fields.js';
import { isBoolean, isCount, isDigest, isOneOf, isText, isWithin } from '../framing/fields.js';
import { FrameCodec, type FrameHeader as HeaderOf, type FrameType } from '../framing/frame.js';
import type { HeaderByteOrder } from '../format/header.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { BackendName } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';
import type { PassCounts } from '../io/pass-progress.js';
import { brokenConnection, migrationError, peerText } from './failure.js';

/**
 * What source and destination say to each other, and its bytes: frames (see `FrameFormat`) with the magic 0x4b48, `KH`.
 * The payload of `data` is whole records of the HTAB stream (kernel-abi.md 2.1); of every other type, a JSON object.
 * Unknown fields in it are ignored. Frame headers, `hello`, `ask` and `abort` are the same in every version, so that
 * two versions can tell each other apart by name.
 *
 * A connection that moves a table:
 *
 * | source                        | destination                                               |
 * |-------------------------------|-----------------------------------------------------------|
 * | `hello`                       | `welcome`, once its table stands empty                    |
 * | `pass-begin`                  |                                                           |
 * | `data`, any number            | `applied`, for each, in order                             |
 * | `pass-end` with its counts    | `applied`, once the pass has been read back               |
 * | ... more passes ...           |                                                           |
 * | `prepare` with the digest     | `prepared` with its own                                   |
 * | `commit`                      | `committed`, once its journal says so                     |
 * | `heartbeat`, while it works   | `heartbeat`, while it works                               |
 * | `abort` before `commit`       | `abort` before `committed`                                |
 *
 * A source that comes back after a broken connection says `hello` with the same migration id and the next attempt, and
 * begins again with the whole table. One that has sent `commit` never says `hello` again, it says `ask`:
 *
 * | source                        | destination                                               |
 * |-------------------------------|-----------------------------------------------------------|
 * | `ask`                         | `outcome`                                                 |
 *
 * The digest is the SHA-256 of the payloads of all `data` of the connection, in order: both sides have it at once however
 * large the table is, and the guest stands still while they compare it.
 *
 * What each side does in which state is the table in two-phase.ts.
 */
export const PROTOCOL_VERSION = 1;

/** Longest payload of a `data` frame. */
export const MAX_DATA_BYTES = 1 << 20;
/** Longest payload of any other frame. */
export const MAX_CONTROL_BYTES = 4096;

const PROTOCOL_NAME = 'kvm-htab';

const control = (code: number): FrameType => ({ code, maxBytes: MAX_CONTROL_BYTES });

const codec = new FrameCodec<MessageType>({
  magic: 0x4b48,
  types: {
    hello: control(1),
    welcome: control(2),
    'pass-begin': control(3),
    data: { code: 4, maxBytes: MAX_DATA_BYTES },
    applied: control(5),
    'pass-end': control(6),
    prepare: control(7),
    prepared: control(8),
    commit: control(9),
    committed: control(10),
    abort: control(11),
    heartbeat: control(12),
    ask: control(13),
    outcome: control(14),
  },
  // A frame that is damaged or out of its place says nothing about the table: another connection may do better.
  refuse: (reason) => brokenConnection(`what the peer sent is no good: ${reason}`),
});

/** What both first messages of a source begin with. */
interface Greeting {
  readonly protocol: string;
  readonly version: number;
  /** Names this migration on both sides and in what they record: 1..64 letters, digits and hyphens. */
  readonly migrationId: string;
}

/** The first thing a source says that has a table to move. */
export interface Hello extends Greeting {
  readonly type: 'hello';
  /** Number of connections this migration has used, this one included. */
  readonly attempt: number;
  /** log2 of the table's bytes, 18..36. */
  readonly order: number;
  /** Byte order of the headers in `data`. */
  readonly headerByteOrder: HeaderByteOrder;
  readonly backend: BackendName;
  /** Processor of the source's host, where it is known: a POWER9 host keeps less of an entry (kernel-abi.md 3.1). */
  readonly host: HostModel | null;
  /** What the destination must be able to do, by name. */
  readonly features: readonly string[];
}

/** What a destination's journal knows; `unknown`: it never heard of this migration. */
export type AskedOutcome = 'committed' | 'aborted' | 'unknown';

export interface Abort {
  readonly type: 'abort';
  readonly code: string;
  readonly reason: string;
  /** Only the connection has failed: the peer may come back, or wait for it. */
  readonly retry: boolean;
}

export type Message =
  | Hello
  | {
      readonly type: 'welcome';
      readonly backend: BackendName;
      readonly host: HostModel | null;
      /** Whether the table will be read back and compared before it is `prepared`. */
      readonly readBack: boolean;
    }
  | { readonly type: 'pass-begin'; readonly pass: number }
  | { readonly type: 'data'; readonly records: Uint8Array }
  | { readonly type: 'applied'; readonly sequence: number }
  | ({ readonly type: 'pass-end'; readonly pass: number } & PassCounts)
  | { readonly type: 'prepare'; readonly digest: string; readonly validEntries: number }
  | { readonly type: 'prepared'; readonly digest: string }
  | { readonly type: 'commit' }
  | { readonly type: 'committed' }
  | Abort
  | { readonly type: 'heartbeat' }
  | ({ readonly type: 'ask' } & Greeting)
  | { readonly type: 'outcome'; readonly outcome: AskedOutcome };

export type MessageType = Message['type'];
export type MessageOf<T extends MessageType> = Extract<Message, { readonly type: T }>;
export type FrameHeader = HeaderOf<MessageType>;

/** Whether something can name a migration. */
export const isMigrationId: FieldCheck = (value) =>
  typeof value === 'string' && /^[\dA-Za-z-]{1,64}$/.test(value);
const isFeatureList: FieldCheck = (value) =>
  Array.isArray(value) && value.length <= 32 && value.every(isText);
const isBackend = isOneOf('kvm', 'emulated', 'image');
const isHost = isOneOf('power8', 'power9', null);
const GREETING: FieldChecks<Greeting> = { protocol: isText, version: isCount, migrationId: isMigrationId };

/** What a peer must say in each message, and what is checked of it: exactly the fields of `Message`. */
const FIELDS: { readonly [T in MessageType]: FieldChecks<Omit<MessageOf<T>, 'type'>> } = {
  hello: {
    ...GREETING,
    attempt: isCount,
    order: isWithin(MIN_ORDER, MAX_STREAM_ORDER),
    headerByteOrder: isOneOf('LE', 'BE'),
    backend: isBackend,
    host: isHost,
    features: isFeatureList,
  },
  welcome: { backend: isBackend, host: isHost, readBack: isBoolean },
  'pass-begin': { pass: isCount },
  data: { records: () => true },
  applied: { sequence: isCount },
  'pass-end': { pass: isCount, validEntries: isCount, invalidEntries: isCount, bytes: isCount },
  prepare: { digest: isDigest, validEntries: isCount },
  prepared: { digest: isDigest },
  commit: {},
  committed: {},
  abort: { code: isText, reason: isText, retry: isBoolean },
  heartbeat: {},
  ask: GREETING,
  outcome: { outcome: isOneOf('committed', 'aborted', 'unknown') },
};

/** The `hello` of a source that speaks this version. */
export function hello(about: Omit<Hello, 'type' | 'protocol' | 'version' | 'features'>): Hello {
  return { type: 'hello', protocol: PROTOCOL_NAME, version: PROTOCOL_VERSION, ...about, features: [] };
}

/** The `ask` of a source that speaks this version. */
export function ask(migrationId: string): MessageOf<'ask'> {
  return { type: 'ask', protocol: PROTOCOL_NAME, version: PROTOCOL_VERSION, migrationId };
}

/**
 * A message as it goes over the wire. The payload of `data` is the caller's own memory, not a copy.
 *
 * @param sequence number of frames sent before it
 * @throws RangeError if the payload is longer than a frame may be
 */
export function encodeFrame(message: Message, sequence: number): { header: Buffer; payload: Uint8Array } {
  const { type, ...fields } = message;
  const payload = message.type === 'data' ? message.records : encodeFields(fields);
  return { header: codec.encodeHeader(type, sequence, payload), payload };
}

/**
 * Reads a frame's header; nothing more of the frame is needed to know whether it may go on.
 *
 * @param header 16 bytes
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer does not speak this protocol or announces too much
 */
export function decodeHeader(header: Uint8Array): FrameHeader {
  return codec.decodeHeader(header);
}

/**
 * Turns a frame into its message. The records of `data` stay in `payload`.
 *
 * @param due sequence number the frame must have
 * @throws HtabError `ERR_HTAB_MIGRATION` if the frame is damaged, in another's place, or does not say what its type must
 */
export function decodePayload(header: FrameHeader, payload: Buffer, due: number): Message {
  codec.checkPayload(header, payload, due);
  const { type, sequence } = header;
  if (type === 'data') return { type, records: payload };
  const fields = parseFields(payload);
  if (fields === undefined) throw migrationError(`frame ${sequence} (${type}) holds no JSON object`);
  if (type === 'hello' || type === 'ask') refuseOtherVersions(fields);
  const picked = pickFields<object>(fields, FIELDS[type], (name) =>
    migrationError(`frame ${sequence} (${type}) lacks a valid "${name}"`),
  );
  const message = { ...picked, type } as Message;
  if (message.type === 'hello') refuseFeatures(message);
  return message;
}

function refuseOtherVersions(fields: Readonly<Record<string, unknown>>): void {
  if (fields['protocol'] !== PROTOCOL_NAME)
    throw migrationError('the peer does not say hello as kvm-htab does');
  if (fields['version'] === PROTOCOL_VERSION) return;
  const version = isCount(fields['version']) ? String(fields['version']) : 'unknown';
  throw migrationError(
    `the source speaks protocol version ${version}, the destination version ${PROTOCOL_VERSION}`,
  );
}

/** This version knows of nothing that could be demanded of it beyond what it always does. */
function refuseFeatures({ features }: Hello): void {
  if (features.length === 0) return;
  const names = peerText(features.join(', '));
  throw migrationError(`the source demands what this destination does not know: ${names}`);
}
