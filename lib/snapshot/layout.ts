import type { FrameFormat } from '../frames/frame.js';
import { type FieldChecks, isBoolean, isCount, isDigest, isOneOf, isWithin } from '../frames/fields.js';
import type { HeaderByteOrder } from '../records/header.js';
import { MAX_STREAM_ORDER, MIN_ORDER } from '../hpt/geometry.js';
import type { PassCounts } from '../records/pass-counter.js';
import type { BackendName } from '../vm/contract.js';
import type { HostModel } from '../vm/host.js';

/**
 * The file that holds a table: frames (see `FrameFormat`) with the magic 0x4b53, `KS`.
 *
 * | frame     | payload                                            | where                               |
 * |-----------|----------------------------------------------------|-------------------------------------|
 * | `header`  | what the table is, see `SnapshotHeader`            | once, first                         |
 * | `records` | whole records of the HTAB stream, at most 1 MiB    | any number in a pass                |
 * | `pass`    | counts of the records since the last `pass`        | at the end of each pass             |
 * | `end`     | entries and digest of the table, see `SnapshotEnd` | once, last: the file ends after it  |
 *
 * Records are those of kernel-abi.md 2.1. The first pass names every entry of the table, as valid or invalid, in
 * ascending order; those after it, also ascending, what has changed since, and override what came before. The payloads
 * of all frames but `records` are JSON objects; fields that are not known are ignored.
 */
export const SNAPSHOT_VERSION = 1;
export const SNAPSHOT_NAME = 'kvm-htab snapshot';

/** Longest payload of a `records` frame. */
export const MAX_RECORDS_BYTES = 1 << 20;
const MAX_FIELDS_BYTES = 4096;

export type SnapshotFrame = 'header' | 'records' | 'pass' | 'end';

export const SNAPSHOT_FRAMES: Omit<FrameFormat<SnapshotFrame>, 'refuse'> = {
  magic: 0x4b53,
  types: {
    header: { code: 1, maxBytes: MAX_FIELDS_BYTES },
    records: { code: 2, maxBytes: MAX_RECORDS_BYTES },
    pass: { code: 3, maxBytes: MAX_FIELDS_BYTES },
    end: { code: 4, maxBytes: MAX_FIELDS_BYTES },
  },
};

/** What a snapshot's table is. */
export interface SnapshotHeader {
  /** log2 of the table's bytes, 18..36. */
  readonly order: number;
  /** Byte order of the record headers. */
  readonly headerByteOrder: HeaderByteOrder;
  /** What kind of VM the table was read from. */
  readonly backend: BackendName;
  /** Processor of the host it was read on; `power9` stands for later ones too, null for not known. */
  readonly host: HostModel | null;
}

/** The result of all passes together. */
export interface SnapshotEnd {
  /** Number of passes. */
  readonly passes: number;
  /** Valid entries in the table. */
  readonly validEntries: number;
  /** Of the table, as `digestTable`. */
  readonly digest: string;
  /** The last pass found nothing changed anywhere: the table is one that the guest has had, not a mixture of moments. */
  readonly quiescent: boolean;
}

export const HEADER_FIELDS: FieldChecks<SnapshotHeader> = {
  order: isWithin(MIN_ORDER, MAX_STREAM_ORDER),
  headerByteOrder: isOneOf('LE', 'BE'),
  backend: isOneOf('kvm', 'emulated', 'image'),
  host: isOneOf('power8', 'power9', null),
};

/** `pass` is the number of the pass, from 1. */
export const PASS_FIELDS: FieldChecks<PassCounts & { readonly pass: number }> = {
  pass: isCount,
  validEntries: isCount,
  invalidEntries: isCount,
  bytes: isCount,
};

export const END_FIELDS: FieldChecks<SnapshotEnd> = {
  passes: isCount,
  validEntries: isCount,
  digest: isDigest,
  quiescent: isBoolean,
};

/** A snapshot's own account of itself, as it is known once all of the file has been verified. */
export interface SnapshotInfo extends SnapshotHeader, Omit<SnapshotEnd, 'passes'> {
  readonly passes: readonly PassCounts[];
  /** Bytes of the file. */
  readonly fileBytes: number;
}
