import type { FieldCheck, FieldChecks } from '../../frames/fields.js';
import { isBoolean, isCount, isDigest, isOneOf, isOptional, isText, isWithin } from '../../frames/fields.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import type { HeaderByteOrder } from '../../records/header.js';
import type { PassCounts } from '../../records/pass-counter.js';
import type { BackendName } from '../../vm/contract.js';
import type { HostModel } from '../../vm/host.js';
import { isMigrationId } from '../migration-id.js';

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

/** The source moves all of its guest, not its table alone: the destination must have taken the rest as well. */
export const REST_FEATURE = 'rest';

/** What a destination's journal knows; `unknown`: it never heard of this migration, or has another table under its id. */
export type AskedOutcome = 'committed' | 'aborted' | 'unknown';

/** Asks how a migration ended. */
export interface Ask extends Greeting {
  readonly type: 'ask';
  /** Of the records that the source committed; null: not known, and whatever table has this id is meant. */
  readonly digest: string | null;
}

/** How it ended. */
export interface Answer {
  readonly outcome: AskedOutcome;
  /** Of the records of the table that this is about; null with `unknown`. */
  readonly digest: string | null;
}

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
  | { readonly type: 'state'; readonly bytes: Uint8Array }
  | {
      readonly type: 'prepare';
      readonly digest: string;
      readonly validEntries: number;
      /** Bytes in all `state` frames; only of a source with {@link REST_FEATURE}. */
      readonly stateBytes?: number;
    }
  | { readonly type: 'prepared'; readonly digest: string }
  | { readonly type: 'commit' }
  | { readonly type: 'committed' }
  | Abort
  | { readonly type: 'heartbeat' }
  | Ask
  | ({ readonly type: 'outcome' } & Answer);

export type MessageType = Message['type'];
export type MessageOf<T extends MessageType> = Extract<Message, { readonly type: T }>;

const isFeatureList: FieldCheck = (value) =>
  Array.isArray(value) && value.length <= 32 && value.every(isText);
const isBackend = isOneOf('kvm', 'emulated', 'image');
const isHost = isOneOf('power8', 'power9', null);
const isDigestOrNull: FieldCheck = (value) => value === null || isDigest(value);
const GREETING: FieldChecks<Greeting> = { protocol: isText, version: isCount, migrationId: isMigrationId };

/** What a peer must say in each message, and what is checked of it: exactly the fields of `Message`. */
export const FIELDS: { readonly [T in MessageType]: FieldChecks<Omit<MessageOf<T>, 'type'>> } = {
  hello: {
    ...GREETING,
    attempt: isWithin(1, Number.MAX_SAFE_INTEGER),
    order: isWithin(MIN_ORDER, MAX_STREAM_ORDER),
    headerByteOrder: isOneOf('LE', 'BE'),
    backend: isBackend,
    host: isHost,
    features: isFeatureList,
  },
  welcome: { backend: isBackend, host: isHost, readBack: isBoolean },
  'pass-begin': { pass: isCount },
  data: { records: () => true },
  state: { bytes: () => true },
  applied: { sequence: isCount },
  'pass-end': { pass: isCount, validEntries: isCount, invalidEntries: isCount, bytes: isCount },
  prepare: { digest: isDigest, validEntries: isCount, stateBytes: isOptional(isCount) },
  prepared: { digest: isDigest },
  commit: {},
  committed: {},
  abort: { code: isText, reason: isText, retry: isBoolean },
  heartbeat: {},
  ask: { ...GREETING, digest: isDigestOrNull },
  outcome: { outcome: isOneOf('committed', 'aborted', 'unknown'), digest: isDigestOrNull },
};
