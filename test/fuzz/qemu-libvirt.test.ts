import { expect, test } from 'vitest';
import { HtabFormatError, HtabUnavailableError } from '../../lib/base/errors.js';
import { SeededRandom } from '../../lib/base/random.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { readQemuStream } from '../../lib/qemu/stream/read-qemu-stream.js';
import { saveFile } from '../qemu/libvirt-writer.js';
import { eachSeed, fuzzRuns, noteLongRun } from './runs.js';
import { mutate, piecesOf } from './stream-mutations.js';

/** Mutated headers. A long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/qemu-libvirt`. */
const RUNS = fuzzRuns(500);
const MAGIC_BYTES = 16;
const WORDS_END = 92;
const COMPRESSION_OFFSET = 28;

test('a mutated header of libvirt is refused with its place, or gives the table of the stream after it', async () => {
  const stream = Buffer.concat(piecesOf(new SeededRandom(1)));
  const digest = digestTable((await readQemuStream(once(stream))).table!);
  const file = saveFile(stream, { cookie: '<cookie/>' });
  const ends = [0, MAGIC_BYTES, WORDS_END, file.length - stream.length];
  const header = ends.slice(1).map((end, k) => file.subarray(ends[k], end));
  const counts = { refused: 0, unavailable: 0, passed: 0, program: 0 };
  await eachSeed(RUNS, async (random) => {
    const bytes = Buffer.concat([mutate(header, random), stream]);
    if (needsProgram(bytes)) counts.program++;
    else counts[await outcomeOf(bytes, digest)]++;
  });
  noteLongRun(RUNS, counts);
  expect(counts.refused).toBeGreaterThan(RUNS / 3);
  expect(counts.passed).toBeGreaterThan(RUNS / 100);
}, 7_200_000);

async function outcomeOf(bytes: Buffer, digest: string): Promise<'refused' | 'unavailable' | 'passed'> {
  try {
    const { table } = await readQemuStream(once(bytes));
    if (table === undefined || digestTable(table) !== digest) throw new Error('a wrong table');
    return 'passed';
  } catch (error) {
    if (error instanceof HtabUnavailableError) return 'unavailable';
    if (!(error instanceof HtabFormatError)) throw error;
    const { section, byteOffset } = error;
    if (section === undefined || byteOffset < 0 || byteOffset > bytes.length) throw error;
    return 'refused';
  }
}

/** Whether a program would be started that decompresses it; other tests do that. */
function needsProgram(bytes: Buffer): boolean {
  if (bytes.toString('latin1', 0, MAGIC_BYTES) !== 'LibvirtQemudSave') return false;
  const methods = [bytes.readUInt32LE(COMPRESSION_OFFSET), bytes.readUInt32BE(COMPRESSION_OFFSET)];
  return methods.some((method) => method > 1 && method < 6);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
