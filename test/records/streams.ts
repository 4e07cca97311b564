import fc from 'fast-check';
import type { HeaderByteOrder } from '../../lib/records/header.js';

/** The 16 bytes of an HPTE as they travel. */
export function hpte(v: bigint, r: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(v, 0);
  bytes.writeBigUInt64BE(r, 8);
  return bytes;
}

/** A record put together by hand. */
export function record(
  index: number,
  hptes: readonly Uint8Array[],
  invalidCount = 0,
  byteOrder: HeaderByteOrder = 'LE',
): Buffer {
  const header = Buffer.alloc(8);
  if (byteOrder === 'LE') {
    header.writeUInt32LE(index, 0);
    header.writeUInt16LE(hptes.length, 4);
    header.writeUInt16LE(invalidCount, 6);
  } else {
    header.writeUInt32BE(index, 0);
    header.writeUInt16BE(hptes.length, 4);
    header.writeUInt16BE(invalidCount, 6);
  }
  return Buffer.concat([header, ...hptes]);
}

/** `count` legal HPTEs, each another one: entry `from` + k has k in its RPN. */
export function run(count: number, from = 0): Buffer[] {
  return Array.from({ length: count }, (_, k) => hpte(0x41n, (BigInt(from + k) << 12n) | 0x190n));
}

/** The bytes in pieces that end at these offsets, whichever of them lie inside. */
export function cutAt(bytes: Uint8Array, offsets: readonly number[]): Uint8Array[] {
  const cuts = [...new Set(offsets)].filter((cut) => cut > 0 && cut < bytes.length).sort((a, b) => a - b);
  return [0, ...cuts].map((from, k) => bytes.subarray(from, cuts[k]));
}

/** A copy that begins `shift` bytes behind a multiple of 8 in its memory. */
export function shifted(bytes: Uint8Array, shift: number): Uint8Array {
  const copy = new Uint8Array(bytes.length + shift).subarray(shift);
  copy.set(bytes);
  return copy;
}

const LEGAL_LP = [0x00, 0x03, 0x08, 0x38, 0x01, 0x07, 0x51, 0xf7];
const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

/** HPTEs that every kernel takes, of every page size. */
export const legalHpte: fc.Arbitrary<Buffer> = fc
  .tuple(word, word, fc.constantFrom(...LEGAL_LP), fc.boolean())
  .map(([v, r, lp, large]) => {
    const legalV = (v & 0x7fff_ffff_ffff_fffan) | 1n | (large ? 4n : 0n);
    return hpte(legalV, large ? (r & ~0xf_f000n) | (BigInt(lp) << 12n) : r);
  });

export interface TestRecord {
  readonly index: number;
  readonly hptes: readonly Buffer[];
  readonly invalidCount: number;
}

/** Records of one pass over a table of this many entries: ascending, with gaps or without. */
export function passOf(entryCount: number): fc.Arbitrary<TestRecord[]> {
  const step = fc.record({
    gap: fc.oneof(fc.constant(0), fc.nat(40)),
    hptes: fc.array(legalHpte, { maxLength: 20, size: 'max' }),
    invalidCount: fc.oneof(fc.constant(0), fc.nat(300)),
  });
  return fc
    .tuple(fc.nat(entryCount - 1), fc.array(step, { maxLength: 12, size: 'max' }))
    .map(([from, steps]) => {
      const records: TestRecord[] = [];
      let index = from;
      for (const { gap, hptes, invalidCount } of steps) {
        index += gap;
        const end = index + hptes.length + invalidCount;
        if (end === index || end > entryCount) continue;
        records.push({ index, hptes, invalidCount });
        index = end;
      }
      return records;
    });
}
