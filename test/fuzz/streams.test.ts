import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { RecordCursor } from '../../lib/records/cursor.js';
import { RecordEncoder } from '../../lib/records/encoder.js';
import { foldRecords } from '../../lib/records/fold-records.js';
import { HptTable } from '../../lib/hpt/table.js';
import { type ReferenceOptions, type ReferenceResult, decodeByReference } from './reference-decoder.js';

const ORDER = 18;
const ENTRIES = 16_384;
const BYTES = 12_000_000;

/** Numbers below `limit`, the same for the same seed (mulberry32). */
type Random = (limit: number) => number;

function randomOf(seed: number): Random {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

const LEGAL_LP = [0x00, 0x03, 0x08, 0x38, 0x01, 0x07, 0xe1, 0x97];

/** A stream that is right: sparse or dense, of small or large pages or both. */
function validStream(random: Random, headerByteOrder: 'LE' | 'BE'): Buffer {
  const buffers: Uint8Array[] = [];
  const encoder = new RecordEncoder((filled) => buffers.push(filled), { headerByteOrder });
  const longestRun = [2, 9, 200, 2000][random(4)]!;
  const longestGap = [1, 20, 3000][random(3)]!;
  const largePages = random(3);
  for (let index = random(100); ;) {
    const valid = random(longestRun + 1);
    const invalid = random(longestGap + 1);
    if (index + valid + invalid > ENTRIES) break;
    const hptes = Buffer.allocUnsafe(valid * 16);
    for (let at = 0; at < hptes.length; at += 16) {
      const large = largePages === 2 || (largePages === 1 && random(2) === 1);
      const lp = LEGAL_LP[random(LEGAL_LP.length)]!;
      const low = random(2 ** 32);
      hptes.writeUInt32BE(random(2 ** 31), at);
      hptes.writeUInt32BE(((low & ~4) | 1 | (large ? 4 : 0)) >>> 0, at + 4);
      hptes.writeUInt32BE(random(2 ** 32), at + 8);
      hptes.writeUInt32BE((large ? (low & ~0xff000) | (lp << 12) : low) >>> 0, at + 12);
    }
    encoder.add(index, valid, invalid, hptes);
    index += valid + invalid + (random(3) === 0 ? random(50) : 0);
  }
  encoder.flush();
  return Buffer.concat(buffers);
}

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x3fff, 0x4000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** What happens to streams: bits flip, words become extreme, pieces get lost, come twice, or come from elsewhere. */
const mutations: readonly ((bytes: Buffer, random: Random) => Buffer)[] = [
  (bytes, random) => {
    bytes[random(bytes.length)]! ^= 1 << random(8);
    return bytes;
  },
  (bytes, random) => {
    bytes[random(bytes.length)] = random(256);
    return bytes;
  },
  (bytes, random) => {
    const extreme = EXTREMES[random(EXTREMES.length)]!;
    const at = random(bytes.length >>> 3) * 8;
    if (random(2) === 0) bytes.writeUInt32LE(extreme, at);
    else bytes.writeUInt32BE(extreme, at);
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, random(bytes.length + 1)),
  (bytes, random) => {
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(40))]);
  },
  (bytes, random) => {
    const [from, to] = [random(bytes.length), random(bytes.length)].sort((a, b) => a - b) as [number, number];
    const target = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, target), bytes.subarray(from, to), bytes.subarray(target)]);
  },
  (bytes, random) => {
    const noise = Buffer.from(Array.from({ length: 1 + random(40) }, () => random(256)));
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]);
  },
];

function mutate(stream: Buffer, random: Random): Buffer {
  let bytes = stream;
  for (let count = random(4); count > 0 && bytes.length >= 8; count--) {
    bytes = mutations[random(mutations.length)]!(bytes, random);
  }
  return bytes;
}

/** Random pieces of the stream, each at a random address. */
function cut(bytes: Uint8Array, random: Random): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  const longest = [3, 24, 500, 20_000][random(4)]!;
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(1 + random(longest), bytes.length - at);
    const shift = random(9);
    const chunk = new Uint8Array(shift + length).subarray(shift);
    chunk.set(bytes.subarray(at, at + length));
    chunks.push(chunk);
    at += length;
  }
  return chunks;
}

/** Folds the chunks into an empty table; the place of the error, if it ends in one. */
function decode(
  chunks: readonly Uint8Array[],
  options: ReferenceOptions,
): { table: HptTable; error?: object } {
  const table = new HptTable(options.order);
  const cursor = new RecordCursor(options);
  try {
    for (const chunk of chunks) {
      cursor.push(chunk);
      foldRecords(cursor, table);
    }
    cursor.finish();
  } catch (error) {
    if (!(error instanceof HtabFormatError)) throw error;
    const { byteOffset, recordIndex, ptex } = error;
    return { table, error: { byteOffset, recordIndex, ...(ptex === undefined ? {} : { ptex }) } };
  }
  return { table };
}

function sameTable(table: HptTable, { entries }: ReferenceResult): boolean {
  if (table.validCount !== entries.size) return false;
  for (const [ptex, { v, r }] of entries) {
    const entry = table.get(ptex);
    if (entry?.v !== v || entry.r !== r) return false;
  }
  return true;
}

/** Both decoders must agree on the table and on the place of the error. */
function check(bytes: Uint8Array, random: Random, options: ReferenceOptions, name: string): boolean {
  const expected = decodeByReference(bytes, options);
  const whole = decode([bytes], options);
  expect(whole.error, name).toEqual(expected.error);
  expect(sameTable(whole.table, expected), name).toBe(true);
  const cutUp = decode(cut(bytes, random), options);
  expect(cutUp.error, `${name}, cut`).toEqual(expected.error);
  // Of a record that turns out bad, parts that came in earlier chunks are applied.
  if (expected.error === undefined) expect(sameTable(cutUp.table, expected), `${name}, cut`).toBe(true);
  return expected.error === undefined;
}

function optionsOf(random: Random): ReferenceOptions {
  return {
    order: ORDER,
    headerByteOrder: random(4) === 0 ? 'BE' : 'LE',
    ascending: random(2) === 0,
  };
}

test('mutated streams give the table of a naive decoder, or its error at the same place', () => {
  let bytes = 0;
  let right = 0;
  let streams = 0;
  for (let seed = 1; bytes < BYTES; seed++) {
    const random = randomOf(seed);
    const options = optionsOf(random);
    const stream = mutate(validStream(random, options.headerByteOrder), random);
    if (check(stream, random, options, `seed ${seed}`)) right++;
    bytes += stream.length;
    streams++;
  }
  // A test that saw no right stream, or no wrong one, would have proved little.
  expect(right).toBeGreaterThan(streams / 10);
  expect(streams - right).toBeGreaterThan(streams / 10);
});

test('random bytes give an error at the same place as in a naive decoder', () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const random = randomOf(seed);
    // Headers of small numbers get through to what follows them.
    const small = random(2) === 0;
    const bytes = Buffer.from(
      Array.from({ length: random(300) }, (_, k) => random(small && k % 2 === 1 ? 2 : 256)),
    );
    check(bytes, random, optionsOf(random), `seed ${seed}`);
  }
});
