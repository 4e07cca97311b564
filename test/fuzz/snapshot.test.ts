import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptTable } from '../../lib/hpt/table.js';
import { SeededRandom } from '../../lib/base/random.js';
import { decodeSnapshot, frameOffsets, snapshotBytes } from '../snapshot/support.js';
import { type Frames, mutate } from './frame-mutations.js';

/** Mutated files. a long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/snapshot`. */
const RUNS = Number(process.env['KVM_HTAB_FUZZ_RUNS'] ?? 5000);

/** A snapshot in frames of at most a few entries each. */
async function framesOf(random: SeededRandom): Promise<Frames> {
  const table = new HptTable(18);
  for (let k = random.below(40); k > 0; k--) {
    const ptex = random.below(16_384);
    table.set(ptex, (BigInt(random.uint32() >>> 2) << 32n) | 0x41n, BigInt(random.uint32()) << 8n);
  }
  const bytes = await snapshotBytes(table, 25 + random.below(300));
  const offsets = frameOffsets(bytes);
  return offsets.slice(0, -1).map((offset, k) => bytes.subarray(offset, offsets[k + 1]));
}

test('a mutated snapshot is refused with a place in it, or is one whose table has the digest it says', async () => {
  let frames: Frames = [];
  let refused = 0;
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = new SeededRandom(seed);
    if (seed % 100 === 1) frames = await framesOf(random);
    const bytes = Buffer.concat(mutate(frames, random));
    try {
      const { table, info } = decodeSnapshot(bytes);
      if (digestTable(table) !== info.digest || table.order !== info.order) throw new Error('a wrong table');
    } catch (error) {
      const place = error instanceof HtabFormatError ? error.byteOffset : -1;
      if (place < 0 || place > bytes.length)
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      refused++;
    }
  }
  // A test that saw nothing refused, or nothing else, would have proved little.
  expect(refused).toBeGreaterThan(RUNS / 2);
  expect(RUNS - refused).toBeGreaterThan(RUNS / 100);
});
