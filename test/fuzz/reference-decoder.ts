import type { HeaderByteOrder } from '../../lib/records/header.js';

export interface ReferenceOptions {
  readonly order: number;
  readonly headerByteOrder: HeaderByteOrder;
  readonly ascending: boolean;
}

/** What a stream does to an empty table, and the place of what is wrong with it. */
export interface ReferenceResult {
  /** By ptex: v and r. */
  readonly entries: ReadonlyMap<number, { readonly v: bigint; readonly r: bigint }>;
  readonly error?: { readonly byteOffset: number; readonly recordIndex: number; readonly ptex?: number };
}

/** Reads a stream as kernel-abi.md 2.1, 4.2 and 7 say it, one entry after the other and with no thought of speed. */
export function decodeByReference(bytes: Uint8Array, options: ReferenceOptions): ReferenceResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const littleEndian = options.headerByteOrder === 'LE';
  const entries = new Map<number, { v: bigint; r: bigint }>();
  let reached = 0;
  let at = 0;
  for (let recordIndex = 0; at < bytes.length; recordIndex++) {
    if (bytes.length - at < 8) return { entries, error: { byteOffset: bytes.length, recordIndex } };
    const index = view.getUint32(at, littleEndian);
    const valid = view.getUint16(at + 4, littleEndian);
    const invalid = view.getUint16(at + 6, littleEndian);
    const empty = valid === 0 && invalid === 0;
    const outside = index + valid + invalid > 2 ** (options.order - 4);
    if (empty || outside || (options.ascending && index < reached)) {
      return { entries, error: { byteOffset: at, recordIndex, ptex: index } };
    }
    reached = index + valid + invalid;
    at += 8;

    const there = Math.min(valid, Math.floor((bytes.length - at) / 16));
    for (let k = 0; k < there; k++) {
      if (isLegal(view.getBigUint64(at + 16 * k), view.getBigUint64(at + 16 * k + 8))) continue;
      return { entries, error: { byteOffset: at + 16 * k, recordIndex, ptex: index + k } };
    }
    for (let k = 0; k < there; k++) {
      entries.set(index + k, { v: view.getBigUint64(at + 16 * k), r: view.getBigUint64(at + 16 * k + 8) });
    }
    if (there < valid)
      return { entries, error: { byteOffset: bytes.length, recordIndex, ptex: index + there } };
    for (let k = 0; k < invalid; k++) entries.delete(index + valid + k);
    at += 16 * valid;
  }
  return { entries };
}

function isLegal(v: bigint, r: bigint): boolean {
  if ((v & 1n) === 0n || v >> 62n > 1n) return false;
  if ((v & 4n) === 0n) return true;
  const code = Number((r >> 12n) & 0xffn);
  return [0x00, 0x03, 0x08, 0x38].includes(code) || (code & 0xf) === 1 || (code & 0xf) === 7;
}
