import { crc32 } from 'node:zlib';
import { FRAME_HEADER_BYTES } from '../../lib/frames/frame.js';
import type { SeededRandom } from '../../lib/base/random.js';

/** The frames of a file or of one direction of a connection, each a header and its payload. */
export type Frames = readonly Buffer[];

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x3fff, 0x4000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
const VALUES = ['0', '-1', '1e999', 'null', '"x"', '{}', '[]', '1.5', String(2 ** 53)];

/** Gives frames their right lengths, numbers and CRCs again: what is wrong with them lies deeper. */
function repair(frames: Frames): Frames {
  return frames.map((frame, sequence) => {
    if (frame.length < FRAME_HEADER_BYTES) return frame;
    const bytes = Buffer.from(frame);
    bytes.writeUInt32BE(bytes.length - FRAME_HEADER_BYTES, 4);
    bytes.writeUInt32BE(sequence, 8);
    bytes.writeUInt32BE(crc32(bytes.subarray(FRAME_HEADER_BYTES), crc32(bytes.subarray(0, 12))), 12);
    return bytes;
  });
}

type Mutation = (frames: Frames, random: SeededRandom) => Frames;

/** Bits flip, words, digits and types become others, pieces and frames get lost, come twice or move. */
const mutations: readonly Mutation[] = [
  inOneFrame((frame, random) => {
    frame[random.below(frame.length)]! ^= 1 << random.below(8);
    return frame;
  }),
  inOneFrame((frame, random) => {
    if (frame.length < FRAME_HEADER_BYTES + 4) return frame;
    const at = FRAME_HEADER_BYTES + random.below(frame.length - FRAME_HEADER_BYTES - 3);
    frame.writeUInt32LE(EXTREMES[random.below(EXTREMES.length)]!, at);
    return frame;
  }),
  inOneFrame((frame, random) => {
    const text = frame.toString('latin1', FRAME_HEADER_BYTES);
    const values = [...text.matchAll(/\d+|true|false|null|"[^"]*"/g)];
    if (values.length === 0) return frame;
    const { 0: value, index } = values[random.below(values.length)]!;
    const near = String(Number(value) + (random.chance(0.5) ? 1 : -1));
    const other = random.chance(0.3) ? near : VALUES[random.below(VALUES.length)]!;
    const changed = text.slice(0, index) + other + text.slice(index + value.length);
    return Buffer.concat([frame.subarray(0, FRAME_HEADER_BYTES), Buffer.from(changed, 'latin1')]);
  }),
  inOneFrame((frame, random) => {
    if (frame.length > 2) frame[2] = random.below(17);
    return frame;
  }),
  inOneFrame((frame, random) => frame.subarray(0, random.below(frame.length + 1))),
  inOneFrame((frame, random) => {
    const at = random.below(frame.length);
    return Buffer.concat([frame.subarray(0, at), frame.subarray(at + 1 + random.below(40))]);
  }),
  inOneFrame((frame, random) => {
    const again = FRAME_HEADER_BYTES + random.below(Math.max(1, frame.length - FRAME_HEADER_BYTES));
    return Buffer.concat([frame, frame.subarray(again)]);
  }),
  (frames, random) => frames.toSpliced(random.below(frames.length), 1),
  (frames, random) => frames.toSpliced(random.below(frames.length), 0, frames[random.below(frames.length)]!),
  (frames, random) => {
    const [from, to] = [random.below(frames.length), random.below(frames.length)];
    return frames.with(from, frames[to]!).with(to, frames[from]!);
  },
];

function inOneFrame(change: (frame: Buffer, random: SeededRandom) => Buffer): Mutation {
  return (frames, random) => {
    const at = random.below(frames.length);
    const frame = Buffer.from(frames[at]!);
    return frame.length === 0 ? frames : frames.with(at, change(frame, random));
  };
}

/** One to three things happen to the frames; two times in three their headers tell nothing of it. */
export function mutate(frames: Frames, random: SeededRandom): Frames {
  let mutated = frames;
  for (let count = 1 + random.below(3); count > 0 && mutated.length > 0; count--) {
    mutated = mutations[random.below(mutations.length)]!(mutated, random);
  }
  return random.chance(2 / 3) ? repair(mutated) : mutated;
}
