import type { SeededRandom } from '../../lib/base/random.js';
import {
  HTAB,
  RAM,
  capabilities,
  command,
  configuration,
  description,
  device,
  endPart,
  header,
  name,
  nextPart,
  ramBlock,
  record,
  records,
  startPart,
  u32,
  u64,
} from '../qemu/stream-writer.js';

const ENTRIES = 16_384;

/** Pieces of a stream that is right, each a thing that could get lost or come twice. */
export function piecesOf(random: SeededRandom): Buffer[] {
  const some = (): Buffer =>
    records(
      ...Array.from({ length: random.below(4) }, () =>
        record(random.below(ENTRIES - 20), random.below(5), random.below(5)),
      ).filter((each) => each.readUInt32BE(4) !== 0),
    );
  const page = Buffer.concat([u64(0x8), name('ppc_spapr.ram'), Buffer.alloc(4096), u64(0x10)]);
  const nvram = Buffer.from(Array.from({ length: random.below(60) }, () => random.below(256)));
  return [
    header,
    configuration('pseries-10.0', ...(random.chance(0.3) ? [capabilities('x-new')] : [])),
    ...(random.chance(0.2) ? [command(1), command(2, u32(7))] : []),
    startPart(RAM, 'ram', ramBlock(65_536), 4),
    startPart(HTAB, 'spapr/htab', u32(18)),
    ...(random.chance(0.5) ? [nextPart(RAM, page)] : []),
    ...Array.from({ length: random.below(3) }, () => nextPart(HTAB, some())),
    endPart(RAM, u64(0x10)),
    endPart(HTAB, some()),
    device(7, 'nvram', nvram),
    description([{ name: 'nvram', instance_id: 0, fields: [{ size: nvram.length }] }]),
  ];
}

const EXTREMES = [0, 1, 7, 0x7e, 0xff, 0x3fff, 0x4000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

type Mutation = (pieces: Buffer[], at: number, random: SeededRandom) => Buffer[];

const mutations: readonly Mutation[] = [
  inOne((bytes, random) => {
    bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    return bytes;
  }),
  inOne((bytes, random) => {
    bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  }),
  inOne((bytes, random) => {
    if (bytes.length < 4) return bytes;
    bytes.writeUInt32BE(EXTREMES[random.below(EXTREMES.length)]!, random.below(bytes.length - 3));
    return bytes;
  }),
  inOne((bytes, random) => bytes.subarray(0, random.below(bytes.length + 1))),
  inOne((bytes, random) => {
    const at = random.below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(40))]);
  }),
  inOne((bytes, random) => {
    const at = random.below(bytes.length);
    const noise = Buffer.from(Array.from({ length: 1 + random.below(20) }, () => random.below(256)));
    return Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]);
  }),
  (pieces, at) => pieces.toSpliced(at, 1),
  (pieces, at, random) => pieces.toSpliced(at, 0, pieces[random.below(pieces.length)]!),
  (pieces, at, random) => {
    const other = random.below(pieces.length);
    return pieces.with(at, pieces[other]!).with(other, pieces[at]!);
  },
  (pieces, at) => pieces.slice(0, at),
];

function inOne(change: (bytes: Buffer, random: SeededRandom) => Buffer): Mutation {
  return (pieces, at, random) => {
    const bytes = Buffer.from(pieces[at]!);
    return bytes.length === 0 ? pieces : pieces.with(at, change(bytes, random));
  };
}

export function mutate(pieces: Buffer[], random: SeededRandom): Buffer {
  let mutated = pieces;
  for (let count = 1 + random.below(3); count > 0 && mutated.length > 0; count--) {
    mutated = mutations[random.below(mutations.length)]!(mutated, random.below(mutated.length), random);
  }
  return Buffer.concat(mutated);
}
