import { constants } from 'node:os';
import { HtabFormatError } from '../base/errors.js';
import { HEADER_BYTES } from '../records/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { HPTE_V_VALID } from '../hpt/hpte-bits.js';
import { basePageShift, type PageShift } from '../hpt/page-size.js';
import type { CallResult } from './call-result.js';

const { EINVAL, EIO } = constants.errno;

/** The table that a write goes into. */
export interface EntrySink {
  /** Number of entries; 0 without a table, so that every record is out of range. */
  readonly entryCount: number;
  /**
   * Makes the entry valid, whatever it held.
   *
   * @returns false if the entry is refused; what it held is gone then too
   */
  enter(
    ptex: number,
    vHigh: number,
    vLow: number,
    rHigh: number,
    rLow: number,
    basePageShift: PageShift,
  ): boolean;
  /** Makes `count` entries from `ptex` on invalid. */
  removeRun(ptex: number, count: number): void;
}

/**
 * What one write(2) to an HTAB descriptor does, once it has been let through: the kernel's loop over records, with its
 * checks in their order, its partial effects and its two faults (kernel-abi.md 4.2, 4.3). It does not step over a
 * record's HPTEs, so only the last record of a write may have any; and its length check forgets the header.
 *
 * @returns bytes the kernel says it took, which can be more than were given, or minus an errno
 * @throws HtabFormatError where the kernel would take bytes beyond the buffer
 */
export function writeLoop(bytes: Uint8Array, sink: EntrySink): CallResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let accounted = 0;
  for (let record = 0; accounted + HEADER_BYTES <= bytes.length; record++) {
    const header = record * HEADER_BYTES;
    const index = view.getUint32(header, true);
    const validCount = view.getUint16(header + 4, true);
    const invalidCount = view.getUint16(header + 6, true);
    if (accounted + validCount * HPTE_BYTES > bytes.length) break;
    accounted += HEADER_BYTES;
    if (index >= sink.entryCount || index + validCount + invalidCount > sink.entryCount) return -EINVAL;
    const result = writeRun(view, header + HEADER_BYTES, index, validCount, record, sink);
    if (result < 0) return result;
    accounted += validCount * HPTE_BYTES;
    sink.removeRun(index + validCount, invalidCount);
  }
  return accounted;
}

function writeRun(
  view: DataView,
  start: number,
  index: number,
  count: number,
  record: number,
  sink: EntrySink,
): CallResult {
  for (let entry = 0, at = start; entry < count; entry++, at += HPTE_BYTES) {
    const ptex = index + entry;
    if (at + HPTE_BYTES > view.byteLength) {
      throw new HtabFormatError(
        `the kernel would read ${at + HPTE_BYTES - view.byteLength} bytes beyond the buffer; the entries before this one are applied`,
        { byteOffset: at, recordIndex: record, ptex },
      );
    }
    const vLow = view.getUint32(at + 4);
    const rLow = view.getUint32(at + 12);
    const pageShift = basePageShift(vLow, rLow);
    if ((vLow & HPTE_V_VALID) === 0 || pageShift === 0) return -EINVAL;
    if (!sink.enter(ptex, view.getUint32(at), vLow, view.getUint32(at + 8), rLow, pageShift)) return -EIO;
  }
  return 0;
}
