import { crc32 } from 'node:zlib';
import { expect } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { HptTable } from '../../lib/hpt/table.js';
import { decodeSnapshot, frameOffsets, snapshotBytes } from './support.js';

/** Three entries of a table of order 18: v, r. */
export function smallTable(): HptTable {
  const table = new HptTable(18);
  table.set(0, 0x4000_0000_0000_0041n, 0x1190n);
  table.set(1, 0x41n, 0x2190n);
  table.set(16_383, 0x51n, 0x190n);
  return table;
}

export const frame = (header: string, payload: string): Buffer =>
  Buffer.concat([Buffer.from(header.replaceAll(' ', ''), 'hex'), Buffer.from(payload)]);

/** A frame of any type and payload, with a right CRC. */
export function forge(type: number, sequence: number, payload: string | Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt16BE(0x4b53, 0);
  header.writeUInt8(type, 2);
  header.writeUInt32BE(Buffer.byteLength(payload), 4);
  header.writeUInt32BE(sequence, 8);
  header.writeUInt32BE(crc32(payload, crc32(header.subarray(0, 12))), 12);
  return Buffer.concat([header, Buffer.from(payload as string)]);
}

export function refusalOf(bytes: Buffer): HtabFormatError {
  try {
    decodeSnapshot(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(HtabFormatError);
    return error as HtabFormatError;
  }
  throw new Error('it was not refused');
}

export const bytes = await snapshotBytes(smallTable());
export const offsets = frameOffsets(bytes);
/** The small table's snapshot, frame by frame: header, records, pass, pass, end. */
export const frames = offsets.slice(0, -1).map((offset, k) => bytes.subarray(offset, offsets[k + 1]));
