import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { SeededRandom } from '../../lib/base/random.js';
import { digestTable } from '../../lib/hpt/digest.js';
import { QemuStreamParser } from '../../lib/qemu/stream/parser.js';
import { readQemuStream } from '../../lib/qemu/stream/read-qemu-stream.js';
import { saveFile } from '../qemu/libvirt-writer.js';
import { mutate, piecesOf } from './stream-mutations.js';

/** Mutated streams. A long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/qemu-streams`. */
const RUNS = Number(process.env['KVM_HTAB_FUZZ_RUNS'] ?? 5000);
/** Bytes of heap and buffers that all runs together may leave. */
const MAX_GROWTH = 64 << 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function usedBytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** What reading comes to: the place of the error, or the table and the findings. */
function outcomeOf(bytes: Buffer, chunkBytes: number): string {
  const parser = new QemuStreamParser();
  try {
    for (let at = 0; at < bytes.length; at += chunkBytes) parser.push(bytes.subarray(at, at + chunkBytes));
    parser.finish();
  } catch (error) {
    if (!(error instanceof HtabFormatError)) throw error;
    const { section, byteOffset, ptex } = error;
    if (section === undefined || byteOffset < 0 || byteOffset > bytes.length) throw error;
    return `refused: ${section} ${byteOffset} ${ptex ?? ''}`;
  }
  const { table, findings } = parser;
  const kinds = findings.list.map(({ kind, count, byteOffset }) => `${kind} ${count} ${byteOffset ?? ''}`);
  // A digest of each table would take most of the time.
  const entries = table === undefined ? 'none' : `${table.order} ${table.validCount} ${table.valid.next(0)}`;
  return `read: ${entries}, ${parser.offset} bytes; ${kinds.join(', ')}`;
}

test('a mutated stream is refused with section and offset, or gives one table however it is cut', () => {
  let pieces: Buffer[] = [];
  const counts = { refused: 0, odd: 0, right: 0 };
  const before = usedBytes();
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = new SeededRandom(seed);
    if (seed % 50 === 1) pieces = piecesOf(random);
    const bytes = mutate(pieces, random);
    try {
      const whole = outcomeOf(bytes, bytes.length + 1);
      const small = outcomeOf(bytes, 1 + random.below(90));
      if (whole !== small) throw new Error(`${small}, and as a whole ${whole}`);
      counts[whole.startsWith('refused') ? 'refused' : whole.endsWith('; ') ? 'right' : 'odd']++;
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
  expect(usedBytes() - before).toBeLessThan(MAX_GROWTH);
  if (RUNS > 100_000) console.log(counts);
  // A test that saw no stream refused, none odd or none right would have proved little.
  expect(counts.refused).toBeGreaterThan(RUNS / 3);
  expect(counts.odd).toBeGreaterThan(RUNS / 100);
  expect(counts.right).toBeGreaterThan(RUNS / 100);
});

test('a mutated header of libvirt is refused, or gives the table of the stream after it', async () => {
  const stream = Buffer.concat(piecesOf(new SeededRandom(1)));
  const digest = digestTable((await readQemuStream(once(stream))).table!);
  let refused = 0;
  for (let seed = 1; seed <= RUNS / 10; seed++) {
    const random = new SeededRandom(seed);
    const file = saveFile(stream, { cookie: '<cookie/>' });
    const headerBytes = file.length - stream.length;
    const bytes = Buffer.concat([
      mutate([file.subarray(0, 16), file.subarray(16, 92), file.subarray(92, headerBytes)], random),
      stream,
    ]);
    // Another program would be started for a compression: that is tested elsewhere.
    const compressed = bytes.readUInt32LE(28);
    if (bytes.subarray(0, 16).equals(file.subarray(0, 16)) && compressed > 1 && compressed < 6) continue;
    try {
      const { table } = await readQemuStream(once(bytes));
      if (table === undefined || digestTable(table) !== digest)
        throw new Error(`seed ${seed}: a wrong table`);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== 'ERR_HTAB_FORMAT' && code !== 'ERR_HTAB_UNAVAILABLE') throw error;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(RUNS / 30);
});

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}
