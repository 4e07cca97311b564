import { HtabFormatError } from '../base/errors.js';
import { HEADER_BYTES, readHeader } from '../records/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';

/** The part of the table that one read has covered. */
export interface ChunkExtent {
  /** ptex of the first record. */
  readonly first: number;
  /** ptex after the last record. */
  readonly end: number;
}

/**
 * Steps over the headers of what one read returned; looks at no HPTE.
 *
 * @param bytes the read's buffer
 * @param length bytes the read returned, at least one record
 * @throws HtabFormatError unless the last record ends where the bytes end: a read returns whole records (kernel-abi.md 2.3)
 */
export function chunkExtent(bytes: Uint8Array, length: number): ChunkExtent {
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  let last = 0;
  let next = 0;
  let records = 0;
  while (next + HEADER_BYTES <= length) {
    last = next;
    next += HEADER_BYTES + HPTE_BYTES * view.getUint16(next + 4, true);
    records++;
  }
  if (next !== length) {
    const place = { byteOffset: last, recordIndex: Math.max(0, records - 1) };
    throw new HtabFormatError(`a read returned ${length} bytes, which do not end with a record`, place);
  }
  const { index, validCount, invalidCount } = readHeader(bytes, last);
  return { first: view.getUint32(0, true), end: index + validCount + invalidCount };
}
