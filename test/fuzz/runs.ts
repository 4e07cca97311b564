import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'vitest';
import { SeededRandom } from '../../lib/base/random.js';
import { within } from '../../lib/base/time.js';
import { piecesOf } from './stream-mutations.js';

/** Bytes of heap and buffers that all runs together may leave. */
const MAX_GROWTH = 64 << 20;
/** A run takes about a millisecond: one that takes so long hangs, on any machine. */
const HANG_MS = 300_000;
/** Mutated streams of each right one. */
const MUTATIONS = 50;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * The mutations that a test makes: `KVM_HTAB_FUZZ_RUNS`, or as many as every run of the tests has time for. Their seeds are
 * 1, 2, 3 and so on; a failure names its own.
 */
export function fuzzRuns(usual: number): number {
  return Number(process.env['KVM_HTAB_FUZZ_RUNS'] ?? usual);
}

/**
 * Runs once for each seed, and checks that all runs together leave no memory behind.
 *
 * @param run gets the seed's random numbers, and the pieces of a stream that is right
 */
export async function eachSeed(
  runs: number,
  run: (random: SeededRandom, pieces: Buffer[]) => Promise<void> | void,
): Promise<void> {
  let pieces: Buffer[] = [];
  const before = usedBytes();
  for (let seed = 1; seed <= runs; seed++) {
    const random = new SeededRandom(seed);
    if (seed % MUTATIONS === 1) pieces = piecesOf(random);
    try {
      await within(Promise.resolve(run(random, pieces)), HANG_MS, undefined, () => new Error('it hangs'));
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
  expect(usedBytes() - before).toBeLessThan(MAX_GROWTH);
}

/** Prints what became of the mutations of a long run, and the most memory that the process had. */
export function noteLongRun(runs: number, counts: Readonly<Record<string, number>>): void {
  if (runs < 100_000) return;
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  console.log(`seeds 1 to ${runs}, at most ${peakMiB} MiB:`, counts);
}

function usedBytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
