import { encodeFields, isCount, parseFields, pickFields } from '../../frames/fields.js';
import { foreignText } from '../../base/foreign-text.js';
import { FrameCodec, type FrameHeader as HeaderOf, type FrameType } from '../../frames/frame.js';
import { brokenConnectionError, migrationError } from '../errors.js';
import { FIELDS, REST_FEATURE, type Ask, type Hello, type Message, type MessageType } from './messages.js';

/**
 * What source and destination say to each other, and its bytes: frames (see `FrameFormat`) with the magic 0x4b48, `KH`.
 * The payload of `data` is whole records of the HTAB stream (kernel-abi.md 2.1); of `state`, bytes of the agent's; of every
 * other type, a JSON object.
 * Unknown fields in it are ignored. Frame headers, `abort`, and `protocol`, `version` and `migrationId` of `hello` and
 * `ask` are the same in every version, so that two versions can tell each other apart by name.
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
 * | `state`, for a guest's rest   |                                                           |
 * | `prepare` with the digest     | `prepared` with its own, once the rest is in its place    |
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
 * The digest is the SHA-256 of the payloads of all `data`, then all `state`, of the connection: both sides have it at once however
 * large the table is, and the guest stands still while they compare it. An outcome is that of the table with this digest:
 * `ask` names it, and so does `outcome`.
 *
 * Every `data` holds at least one record. A destination gives up on a source that makes more than 1024 passes in a row
 * without an entry: there is nothing left to wait for.
 *
 * protocol.md has all that a peer in another language needs, with what each side does in which state.
 */
export const PROTOCOL_VERSION = 3;

/** Longest payload of a `data` or `state` frame. */
export const MAX_DATA_BYTES = 1 << 20;
/** Longest payload of any other frame. */
export const MAX_CONTROL_BYTES = 4096;

const PROTOCOL_NAME = 'kvm-htab';

const control = (code: number): FrameType => ({ code, maxBytes: MAX_CONTROL_BYTES });

/** What a source may demand beyond what this version always does. */
const FEATURES: readonly string[] = [REST_FEATURE];

export type MessageHeader = HeaderOf<MessageType>;

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
    state: { code: 15, maxBytes: MAX_DATA_BYTES },
  },
  // A frame that is damaged or out of its place says nothing about the table: another connection may do better.
  refuse: (reason) => brokenConnectionError(`received invalid data: ${reason}`),
});

/** The `hello` of a source that speaks this version. */
export function hello(
  about: Omit<Hello, 'type' | 'protocol' | 'version' | 'features'>,
  features: readonly string[] = [],
): Hello {
  return { type: 'hello', protocol: PROTOCOL_NAME, version: PROTOCOL_VERSION, ...about, features };
}

/** The `ask` of a source that speaks this version. */
export function ask(migrationId: string, digest: string | null = null): Ask {
  return { type: 'ask', protocol: PROTOCOL_NAME, version: PROTOCOL_VERSION, migrationId, digest };
}

/**
 * A message as it goes over the wire. The payload of `data` and `state` is the caller's own memory, not a copy.
 *
 * @param sequence number of frames sent before it
 * @throws RangeError if the payload is longer than a frame may be
 */
export function encodeFrame(message: Message, sequence: number): { header: Buffer; payload: Uint8Array } {
  const { type, ...fields } = message;
  const payload = bytesOf(message) ?? encodeFields(fields);
  return { header: codec.encodeHeader(type, sequence, payload), payload };
}

/** The payload of a message that is bytes, not fields. */
function bytesOf(message: Message): Uint8Array | undefined {
  if (message.type === 'data') return message.records;
  return message.type === 'state' ? message.bytes : undefined;
}

/**
 * Reads a frame's header; nothing more of the frame is needed to know whether it may go on.
 *
 * @param header 16 bytes
 * @throws HtabError `ERR_HTAB_MIGRATION` if the peer does not speak this protocol or announces too much
 */
export function decodeHeader(header: Uint8Array): MessageHeader {
  return codec.decodeHeader(header);
}

/**
 * Turns a frame into its message. The bytes of `data` and `state` stay in `payload`.
 *
 * @param due sequence number the frame must have
 * @throws HtabError `ERR_HTAB_MIGRATION` if the frame is damaged, in another's place, or does not say what its type must
 */
export function decodePayload(header: MessageHeader, payload: Buffer, due: number): Message {
  codec.checkPayload(header, payload, due);
  const { type, sequence } = header;
  if (type === 'data') return { type, records: payload };
  if (type === 'state') return { type, bytes: payload };
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
    throw migrationError('the source does not speak the kvm-htab protocol');
  if (fields['version'] === PROTOCOL_VERSION) return;
  const version = isCount(fields['version']) ? String(fields['version']) : 'unknown';
  throw migrationError(
    `the source speaks protocol version ${version}, the destination version ${PROTOCOL_VERSION}`,
  );
}

function refuseFeatures({ features }: Hello): void {
  const unknown = features.filter((name) => !FEATURES.includes(name));
  if (unknown.length === 0) return;
  const names = foreignText(unknown.join(', '));
  throw migrationError(`the source requires features that this destination does not have: ${names}`);
}
