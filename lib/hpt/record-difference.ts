import { popcount } from './bitmap.js';
import type { RecordSource } from './record-source.js';
import type { HptTable } from './table.js';

/** The first entry of a source's record that is not as the table has it; undefined if all are. */
export function differenceIn(expected: HptTable, record: RecordSource): number | undefined {
  const validEnd = record.index + record.validCount;
  for (let ptex = record.index, long = record.wordOffset >>> 1; ptex < validEnd;) {
    const length = Math.min(32 - (ptex & 31), validEnd - ptex);
    const same = countSame(expected, { ptex, length }, record.longs, long);
    if (same < length) return ptex + same;
    ptex += length;
    long += length * 2;
  }
  const end = validEnd + record.invalidCount;
  const ptex = expected.valid.next(validEnd, end);
  return ptex < end ? ptex : undefined;
}

/** Entries that share a word of the bitmap. */
interface Run {
  readonly ptex: number;
  readonly length: number;
}

/**
 * How many entries of a run, before the first other one, are valid and have these HPTEs but for the bits of `v` that are the
 * kernel's own.
 *
 * @param longs holds the HPTEs, as they travel, from `long` on
 */
function countSame(table: HptTable, { ptex, length }: Run, longs: BigUint64Array, long: number): number {
  const bits = table.valid.word(ptex) | 0;
  const held = bits >>> (ptex & 31);
  // Bits set without a gap from bit 0 on.
  const valid = Math.min(32 - Math.clz32((~held & (held + 1)) - 1), length);
  if (valid === 0) return 0;
  const packed = table.blocks[ptex >>> 16]!;
  const ours = packed.longs;
  let our = (packed.placeOf((ptex & 0xffff) >>> 5) + popcount(bits & ~(-1 << (ptex & 31)))) << 1;
  for (let entry = 0, at = long; entry < valid; entry++, our += 2, at += 2) {
    // Without 0x60 in the last byte of v. A literal, and `asUintN`, keep V8 from making a bigint of each.
    const different = BigInt.asUintN(
      64,
      ((ours[our]! ^ longs[at]!) & 0x9fff_ffff_ffff_ffffn) | (ours[our + 1]! ^ longs[at + 1]!),
    );
    if (different !== 0n) return entry;
  }
  return valid;
}
