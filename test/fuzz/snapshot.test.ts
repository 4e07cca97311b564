import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/errors.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { HptTable } from '../../lib/hpt/table.js';
import { SeededRandom } from '../../lib/testing/random.js';
import { decodeSnapshot, frameOffsets, snapshotBytes } from '../unit/snapshot/support.js';

/** Mutated files; a long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/snapshot`. */
const RUNS = Number(process.env['KVM_HTAB_FUZZ_RUNS'] ?? 20_000);

type Frames = Buffer[];

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

/** Gives frames their right lengths, numbers and CRCs again: what is wrong with them lies deeper. */
function repair(frames: Frames): Frames {
  return frames.map((frame, sequence) => {
    if (frame.length < 16) return frame;
    const bytes = Buffer.from(frame);
    bytes.writeUInt32BE(bytes.length - 16, 4);
    bytes.writeUInt32BE(sequence, 8);
    bytes.writeUInt32BE(crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12))), 12);
    return bytes;
  });
}

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x3fff, 0x4000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** What happens to files: bits flip, words and digits become others, pieces and frames get lost, come twice or move. */
const mutations: readonly ((frames: Frames, random: SeededRandom) => Frames)[] = [
  (frames, random) =>
    withFrame(frames, random, (frame) => {
      frame[random.below(frame.length)]! ^= 1 << random.below(8);
      return frame;
    }),
  (frames, random) =>
    withFrame(frames, random, (frame) => {
      if (frame.length < 20) return frame;
      frame.writeUInt32LE(EXTREMES[random.below(EXTREMES.length)]!, 16 + random.below(frame.length - 19));
      return frame;
    }),
  (frames, random) =>
    withFrame(frames, random, (frame) => {
      const text = frame.toString('latin1', 16);
      const other = ['0', '-1', '1e999', 'null', '"x"', '{}', '[]', String(2 ** 53)][random.below(8)]!;
      return Buffer.concat([
        frame.subarray(0, 16),
        Buffer.from(text.replace(/\d+|true|null/, other), 'latin1'),
      ]);
    }),
  (frames, random) => withFrame(frames, random, (frame) => frame.subarray(0, random.below(frame.length + 1))),
  (frames, random) =>
    withFrame(frames, random, (frame) => {
      const at = random.below(frame.length);
      return Buffer.concat([frame.subarray(0, at), frame.subarray(at + 1 + random.below(40))]);
    }),
  (frames, random) =>
    withFrame(frames, random, (frame) =>
      Buffer.concat([frame, frame.subarray(16 + random.below(Math.max(1, frame.length - 16)))]),
    ),
  (frames, random) => frames.toSpliced(random.below(frames.length), 1),
  (frames, random) => frames.toSpliced(random.below(frames.length), 0, frames[random.below(frames.length)]!),
  (frames, random) => {
    const [from, to] = [random.below(frames.length), random.below(frames.length)];
    return frames.with(from, frames[to]!).with(to, frames[from]!);
  },
];

function withFrame(frames: Frames, random: SeededRandom, change: (frame: Buffer) => Buffer): Frames {
  const at = random.below(frames.length);
  return frames.with(at, change(Buffer.from(frames[at]!)));
}

function mutate(frames: Frames, random: SeededRandom): Buffer {
  let mutated = frames;
  for (let count = 1 + random.below(3); count > 0 && mutated.length > 0; count--) {
    mutated = mutations[random.below(mutations.length)]!(mutated, random);
  }
  return Buffer.concat(random.chance(2 / 3) ? repair(mutated) : mutated);
}

test('a mutated snapshot is refused with a place in it, or is one whose table has the digest it says', async () => {
  let frames: Frames = [];
  let refused = 0;
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = new SeededRandom(seed);
    if (seed % 100 === 1) frames = await framesOf(random);
    const bytes = mutate(frames, random);
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
