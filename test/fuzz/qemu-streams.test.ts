import { expect, test } from 'vitest';
import { HtabFormatError } from '../../lib/base/errors.js';
import { QemuStreamParser } from '../../lib/qemu/stream/parser.js';
import { eachSeed, fuzzRuns, noteLongRun } from './runs.js';
import { mutate } from './stream-mutations.js';

/** Mutated streams. A long run is `KVM_HTAB_FUZZ_RUNS=1000000 npx vitest run test/fuzz/qemu-streams`. */
const RUNS = fuzzRuns(5000);

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

test('a mutated stream is refused with section and offset, or gives one table however it is cut', async () => {
  const counts = { refused: 0, odd: 0, right: 0 };
  await eachSeed(RUNS, (random, pieces) => {
    const bytes = mutate(pieces, random);
    const whole = outcomeOf(bytes, bytes.length + 1);
    const small = outcomeOf(bytes, 1 + random.below(90));
    if (whole !== small) throw new Error(`${small}, and as a whole ${whole}`);
    counts[whole.startsWith('refused') ? 'refused' : whole.endsWith('; ') ? 'right' : 'odd']++;
  });
  noteLongRun(RUNS, counts);
  // A test that saw no stream refused, none odd or none right would have proved little.
  expect(counts.refused).toBeGreaterThan(RUNS / 3);
  expect(counts.odd).toBeGreaterThan(RUNS / 100);
  expect(counts.right).toBeGreaterThan(RUNS / 100);
}, 7_200_000);
