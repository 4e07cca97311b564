import { checkOneOf } from '../base/arguments.js';

/**
 * Byte order of record headers: the host's own in the HTAB descriptor, so `LE` on every supported host; `BE` in QEMU's
 * migration stream. HPTEs are big-endian in both.
 */
export type HeaderByteOrder = 'LE' | 'BE';

/** @throws TypeError (`ERR_INVALID_ARG_VALUE`) for any other than the two */
export function checkHeaderByteOrder(byteOrder: HeaderByteOrder): void {
  checkOneOf('headerByteOrder', byteOrder, ['LE', 'BE']);
}

/** Bytes of a record header: u32 index, u16 valid count, u16 invalid count (kernel-abi.md 2.1). */
export const HEADER_BYTES = 8;
/** Longest run of valid, and of invalid, entries in one record. */
export const MAX_RUN = 65_535;
/** Entries the 32-bit index of a header can name. */
export const MAX_STREAM_ENTRIES = 2 ** 32;

/** A record's header: entries `index .. index + validCount - 1` are valid, the next `invalidCount` are not. */
export interface RecordHeader {
  /** ptex of the record's first entry, 0..2^32 - 1. */
  readonly index: number;
  /** Valid entries, 0..65535; their HPTEs follow the header, 16 bytes each. */
  readonly validCount: number;
  /** Invalid entries after them, 0..65535; they have no bytes. */
  readonly invalidCount: number;
}

/**
 * Reads the header at `offset`, unchecked: {@link RecordCursor} checks.
 *
 * @throws RangeError unless 8 bytes are there
 */
export function readHeader(
  bytes: Uint8Array,
  offset: number,
  byteOrder: HeaderByteOrder = 'LE',
): RecordHeader {
  const view = viewOf(bytes);
  const littleEndian = byteOrder === 'LE';
  return {
    index: view.getUint32(offset, littleEndian),
    validCount: view.getUint16(offset + 4, littleEndian),
    invalidCount: view.getUint16(offset + 6, littleEndian),
  };
}

/**
 * Writes a header at `offset`; counts and index are taken as they are, in 16 and 32 bits.
 *
 * @throws RangeError unless 8 bytes are there
 */
export function writeHeader(
  bytes: Uint8Array,
  offset: number,
  header: RecordHeader,
  byteOrder: HeaderByteOrder = 'LE',
): void {
  putHeader(viewOf(bytes), offset, header, byteOrder);
}

/** {@link writeHeader} for many headers in one buffer: making a view costs more than writing a header. */
export function putHeader(
  view: DataView,
  offset: number,
  header: RecordHeader,
  byteOrder: HeaderByteOrder,
): void {
  const littleEndian = byteOrder === 'LE';
  // The end first: if it does not fit, nothing is written.
  view.setUint16(offset + 6, header.invalidCount, littleEndian);
  view.setUint16(offset + 4, header.validCount, littleEndian);
  view.setUint32(offset, header.index, littleEndian);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
