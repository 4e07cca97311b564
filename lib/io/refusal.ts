import { HtabSystemError } from '../base/errors.js';
import { HEADER_BYTES, MAX_STREAM_ENTRIES, readHeader, writeHeader } from '../records/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { HPTE_V_VALID, hasReservedSegment } from '../hpt/hpte-bits.js';
import { basePageShift } from '../hpt/page-size.js';
import { decodeHpte } from '../hpt/hpte.js';
import type { HtabHandle } from '../vm/contract.js';

const PAGE_NAMES = { 12: '4K', 16: '64K', 24: '16M', 34: '16G' } as const;

/** Where a record is refused, and why. */
interface Refusal {
  readonly ptex: number;
  readonly hint: string | undefined;
}

/**
 * Finds which entry of a record the kernel refused, and why, from the error of `writeRecords`.
 *
 * The kernel reports neither, so it is asked again. A record that goes beyond the table is found out by records without
 * entries, which have no effect. Otherwise the record's valid entries are written one by one until one is refused:
 * those before it are applied by that, as they were already (kernel-abi.md 4.2). Nothing is removed.
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
  let { index: ptex } = readHeader(record, 0);
  let hint: string | undefined;
  if (errnoName === 'EBUSY') {
    hint = 'a vcpu is running: stop all vcpus before the table is written';
  } else if (errnoName === 'EIO' || errnoName === 'EINVAL') {
    const refusal = await findRefusal(handle, record, errnoName).catch(() => undefined);
    if (refusal === undefined) {
      hint =
        'the refusal did not repeat when the record was written again entry by entry: its cause is intermittent';
    } else {
      ({ ptex, hint } = refusal);
    }
  }
  return new HtabSystemError(error.syscall, errnoName, {
    operation: error.operation,
    ptex,
    recordIndex,
    bytesApplied,
    hint,
    cause: error,
  });
}

/**
 * Writes whole records, and explains a refusal.
 *
 * @throws HtabSystemError as {@link explainRefusal} makes it
 * @throws what else `writeRecords` rejects with
 */
export async function writeExplained(handle: HtabHandle, records: Uint8Array): Promise<void> {
  try {
    await handle.writeRecords(records);
  } catch (error) {
    throw error instanceof HtabSystemError ? await explainRefusal(handle, records, error) : error;
  }
}

/** @returns undefined if the record, which `record` begins with, is not refused with this errno again */
async function findRefusal(
  handle: HtabHandle,
  record: Uint8Array,
  errnoName: 'EINVAL' | 'EIO',
): Promise<Refusal | undefined> {
  const { index, validCount, invalidCount } = readHeader(record, 0);
  if (errnoName === 'EINVAL') {
    // The kernel looks at the range before it touches an entry: entry by entry, those inside would be written.
    const last = Math.max(index, index + validCount + invalidCount - 1);
    if (!(await exists(handle, last))) return beyondEnd(index, await tableEnd(handle, last));
  }
  const error = await failureOf(handle, entryByEntry(record));
  if (error?.errnoName !== errnoName || error.recordIndex === undefined) return undefined;
  const ptex = index + error.recordIndex;
  const { v, r } = hpteAt(record, error.recordIndex);
  return { ptex, hint: errnoName === 'EIO' ? mappingHint(v, r) : contentHint(v, r) };
}

/** Whether the table has this entry: a record without entries is EINVAL where it begins beyond the end. */
async function exists(handle: HtabHandle, ptex: number): Promise<boolean> {
  if (ptex >= MAX_STREAM_ENTRIES) return false;
  const empty = new Uint8Array(HEADER_BYTES);
  writeHeader(empty, 0, { index: ptex, validCount: 0, invalidCount: 0 });
  const error = await failureOf(handle, empty);
  if (error !== undefined && error.errnoName !== 'EINVAL') throw error;
  return error === undefined;
}

/** Number of entries of a table that has no entry `beyond`. */
async function tableEnd(handle: HtabHandle, beyond: number): Promise<number> {
  let low = 0;
  let high = beyond;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await exists(handle, middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function failureOf(handle: HtabHandle, records: Uint8Array): Promise<HtabSystemError | undefined> {
  try {
    await handle.writeRecords(records);
    return undefined;
  } catch (error) {
    if (error instanceof HtabSystemError) return error;
    throw error;
  }
}

/** The valid entries of the record that `bytes` begins with, each as a record of its own. */
function entryByEntry(bytes: Uint8Array): Uint8Array {
  const { index, validCount } = readHeader(bytes, 0);
  const singles = new Uint8Array(validCount * (HEADER_BYTES + HPTE_BYTES));
  let at = 0;
  for (let k = 0; k < validCount; k++) {
    const hpte = HEADER_BYTES + k * HPTE_BYTES;
    writeHeader(singles, at, { index: index + k, validCount: 1, invalidCount: 0 });
    singles.set(bytes.subarray(hpte, hpte + HPTE_BYTES), at + HEADER_BYTES);
    at += HEADER_BYTES + HPTE_BYTES;
  }
  return singles;
}

/** A record that begins at `index` and goes beyond a table of `end` entries. */
function beyondEnd(index: number, end: number): Refusal {
  return {
    ptex: Math.max(index, end),
    hint:
      end === 0
        ? 'there is no table: the VM has none, or its MMU is radix'
        : `the table ends before ptex ${end}`,
  };
}

/** Why an entry is EINVAL (kernel-abi.md 4.2). */
function contentHint(v: bigint, r: bigint): string | undefined {
  const vLow = Number(v & 0xffffffffn);
  const rLow = Number(r & 0xffffffffn);
  if ((vLow & HPTE_V_VALID) === 0) return 'the entry is not marked valid';
  if (basePageShift(vLow, rLow) === 0) {
    return `the entry has page-size code 0x${((rLow >>> 12) & 0xff).toString(16)}, which no kernel accepts`;
  }
  return undefined;
}

/** Why an entry is EIO (kernel-abi.md 4.4). */
function mappingHint(v: bigint, r: bigint): string {
  const removed = 'what the entry held before is gone';
  if (hasReservedSegment(Number(v >> 32n))) {
    return `the entry has segment size code ${v >> 62n}, which is reserved; ${removed}`;
  }
  const hpte = decodeHpte(v, r);
  if (hpte === undefined) return `the entry has a page-size code that the host does not know; ${removed}`;
  const { actualPageShift, guestAddress } = hpte;
  const page = `the ${PAGE_NAMES[actualPageShift]} page at guest address 0x${guestAddress.toString(16)}`;
  if (actualPageShift === 12) {
    return `the host cannot map ${page}: the cache attributes of the host page and of the entry differ; ${removed}`;
  }
  return (
    `the host cannot map ${page}: that takes a memory slot whose base and size are multiples of the page, ` +
    `backed by host pages at least as large; ${removed}`
  );
}

function hpteAt(record: Uint8Array, offset: number): { v: bigint; r: bigint } {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const at = HEADER_BYTES + offset * HPTE_BYTES;
  return { v: view.getBigUint64(at), r: view.getBigUint64(at + 8) };
}
