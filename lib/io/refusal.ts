import { HtabSystemError } from '../errors.js';
import { HEADER_BYTES, readHeader, writeHeader } from '../format/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { HPTE_V_VALID, basePageShift, decodeHpte, hasReservedSegment } from '../hpt/hpte.js';
import type { HtabHandle } from '../vm/contract.js';

const PAGE_NAMES = { 12: '4K', 16: '64K', 24: '16M', 34: '16G' } as const;

/**
 * Says which entry of a record the kernel refused, and why, from the error of `writeRecords`.
 *
 * The kernel tells neither. The record is written again entry by entry until one is refused: entries before it are
 * applied by that, as they were already (kernel-abi.md 4.2).
 *
 * @param bytes what `writeRecords` was given
 * @param error what it rejected with
 * @returns the same error with `ptex` of the entry and a `hint`; `error` itself if it names no record of `bytes`
 */
export async function explainRefusal(
  handle: HtabHandle,
  bytes: Uint8Array,
  error: HtabSystemError,
): Promise<HtabSystemError> {
  const { bytesApplied, recordIndex, errnoName } = error;
  if (bytesApplied === undefined || recordIndex === undefined) return error;
  const record = bytes.subarray(bytesApplied);
  const { index } = readHeader(record, 0);
  let ptex = index;
  let hint: string | undefined;
  if (errnoName === 'EBUSY') {
    hint = 'a vcpu is running: stop all vcpus before the table is written';
  } else if (errnoName === 'EIO' || errnoName === 'EINVAL') {
    const offset = await refusedEntry(handle, record, errnoName);
    if (offset === undefined) {
      hint = 'written again entry by entry the record was not refused so: the cause comes and goes';
    } else {
      ptex += offset;
      hint = errnoName === 'EIO' ? mappingHint(record, offset) : contentHint(record, offset);
    }
  }
  return new HtabSystemError(error.syscall, errnoName, {
    operation: error.operation,
    ptex,
    recordIndex,
    bytesApplied,
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

/** Offset in the record of the first entry that is refused with this errno when each is written alone. */
async function refusedEntry(
  handle: HtabHandle,
  record: Uint8Array,
  errnoName: string,
): Promise<number | undefined> {
  try {
    await handle.writeRecords(entryByEntry(record));
    return undefined;
  } catch (error) {
    return error instanceof HtabSystemError && error.errnoName === errnoName ? error.recordIndex : undefined;
  }
}

/** The entries of the record that `bytes` begins with, each as a record of its own. */
function entryByEntry(bytes: Uint8Array): Uint8Array {
  const { index, validCount, invalidCount } = readHeader(bytes, 0);
  const singles = new Uint8Array(validCount * (HEADER_BYTES + HPTE_BYTES) + invalidCount * HEADER_BYTES);
  let at = 0;
  for (let k = 0; k < validCount; k++) {
    const hpte = HEADER_BYTES + k * HPTE_BYTES;
    writeHeader(singles, at, { index: index + k, validCount: 1, invalidCount: 0 });
    singles.set(bytes.subarray(hpte, hpte + HPTE_BYTES), at + HEADER_BYTES);
    at += HEADER_BYTES + HPTE_BYTES;
  }
  for (let k = validCount; k < validCount + invalidCount; k++) {
    writeHeader(singles, at, { index: index + k, validCount: 0, invalidCount: 1 });
    at += HEADER_BYTES;
  }
  return singles;
}

/** Why an entry, or a place in the table, is EINVAL (kernel-abi.md 4.2). */
function contentHint(record: Uint8Array, offset: number): string {
  const { index, validCount } = readHeader(record, 0);
  if (offset < validCount) {
    const { v, r } = hpteAt(record, offset);
    const vLow = Number(v & 0xffffffffn);
    const rLow = Number(r & 0xffffffffn);
    if ((vLow & HPTE_V_VALID) === 0) return 'the entry is not marked valid';
    if (basePageShift(vLow, rLow) === 0) {
      return `the entry has page-size code 0x${((rLow >>> 12) & 0xff).toString(16)}, which no kernel accepts`;
    }
  }
  const end = `the table ends before ptex ${index + offset}`;
  return offset > 0 ? end : `${end}, or the VM has none, or its MMU is radix`;
}

/** Why an entry is EIO (kernel-abi.md 4.4). */
function mappingHint(record: Uint8Array, offset: number): string | undefined {
  if (offset >= readHeader(record, 0).validCount) return undefined;
  const removed = 'what the entry held before is gone';
  const { v, r } = hpteAt(record, offset);
  if (hasReservedSegment(Number(v >> 32n))) {
    return `the entry has segment size code ${v >> 62n}, which is reserved; ${removed}`;
  }
  const hpte = decodeHpte(v, r);
  if (hpte === undefined) return `the entry has a page-size code that the host does not know; ${removed}`;
  const { actualPageShift, guestAddress } = hpte;
  const page = `the ${PAGE_NAMES[actualPageShift]} page at guest address 0x${guestAddress.toString(16)}`;
  if (actualPageShift === 12) {
    return `the host cannot map ${page}: it is cache-inhibited there, and the entry says otherwise; ${removed}`;
  }
  return (
    `the host cannot map ${page}: that takes a memory slot whose base and size are multiples of the page, ` +
    `behind host pages at least as large; ${removed}`
  );
}

function hpteAt(record: Uint8Array, offset: number): { v: bigint; r: bigint } {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const at = HEADER_BYTES + offset * HPTE_BYTES;
  return { v: view.getBigUint64(at), r: view.getBigUint64(at + 8) };
}
