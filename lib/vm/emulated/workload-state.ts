import { outOfRangeError } from '../../base/arguments.js';
import { encodeFields, isCount, parseFields, pickFields, type FieldCheck } from '../../frames/fields.js';
import type { ContentsState } from './guest-contents.js';
import type { PageArrays } from './guest-pages.js';

/** What a workload's registers are made of: numbers, and arrays of one length per kind of thing they are about. */
const ARRAYS = {
  vHigh: Uint32Array,
  vLow: Uint32Array,
  rHigh: Uint32Array,
  rLow: Uint32Array,
  hash: Float64Array,
  place: Float64Array,
  secondary: Uint8Array,
  storedPages: Uint32Array,
  storedBy: Uint32Array,
} as const satisfies { readonly [Name in keyof WorkloadArrays]: unknown };
type ArrayName = keyof typeof ARRAYS;
const NAMES = Object.keys(ARRAYS) as ArrayName[];

export type WorkloadArrays = PageArrays & Pick<ContentsState, 'storedPages' | 'storedBy'>;

export interface WorkloadNumbers {
  /** Of `SeededRandom`. */
  readonly random: readonly number[];
  readonly weights: readonly number[];
  readonly counts: Readonly<Record<string, number>>;
  readonly pinned: number;
  readonly seed: number;
  readonly stores: number;
  readonly checksum: number;
}

/** All that a workload knows beside its table and its memory. */
export interface WorkloadState {
  readonly numbers: WorkloadNumbers;
  readonly arrays: WorkloadArrays;
}

const isNumbers: FieldCheck = (value) => Array.isArray(value) && value.every(Number.isFinite);
const isCounts: FieldCheck = (value) =>
  typeof value === 'object' && value !== null && Object.values(value).every(isCount);

/** A length of 32 bits, little-endian, a JSON object of so many bytes, and the arrays, each in this machine's byte order. */
export function encodeWorkload({ numbers, arrays }: WorkloadState): Uint8Array {
  const lengths = NAMES.map((name) => arrays[name].length);
  const fields = encodeFields({ ...numbers, lengths });
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32LE(fields.length);
  const bytes = NAMES.map((name) => {
    const { buffer, byteOffset, byteLength } = arrays[name];
    return Buffer.from(buffer, byteOffset, byteLength);
  });
  return Buffer.concat([prefix, fields, ...bytes]);
}

/** @throws RangeError for anything but what {@link encodeWorkload} gave */
export function decodeWorkload(registers: Uint8Array): WorkloadState {
  const invalid = (what: string): Error =>
    outOfRangeError('registers', `those of a workload: ${what}`, registers.length);
  if (registers.length < 4) throw invalid('no length');
  const end = 4 + Buffer.from(registers.buffer, registers.byteOffset, 4).readUInt32LE();
  const fields = parseFields(registers.subarray(4, end)) ?? {};
  const { lengths, ...numbers } = pickFields<WorkloadNumbers & { lengths: number[] }>(
    fields,
    {
      random: isNumbers,
      weights: isNumbers,
      counts: isCounts,
      pinned: isCount,
      seed: Number.isInteger,
      stores: isCount,
      checksum: Number.isInteger,
      lengths: isNumbers,
    },
    invalid,
  );
  const bytes = NAMES.map((name, index) => ARRAYS[name].BYTES_PER_ELEMENT * (lengths[index] ?? NaN));
  if (end + bytes.reduce((sum, length) => sum + length, 0) !== registers.length) throw invalid('lengths');
  let offset = end;
  const arrays = Object.fromEntries(
    NAMES.map((name, index) => {
      // A copy: where the bytes stand, an array of words may not begin.
      const part = new Uint8Array(registers.subarray(offset, (offset += bytes[index]!)));
      return [name, new ARRAYS[name](part.buffer)];
    }),
  );
  return { numbers, arrays: arrays as unknown as WorkloadArrays };
}
