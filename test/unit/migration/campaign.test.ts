import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SeededRandom } from '../../../lib/testing/random.js';
import { chaosOf } from './chaos.js';
import { bootGuest, useFakeTime } from './machines.js';
import { World } from './world.js';

/** `CAMPAIGN_SEED=1234 CAMPAIGN_RUNS=1` makes one of them again. */
const RUNS = Number(process.env['CAMPAIGN_RUNS'] ?? 2000);
const SEED = Number(process.env['CAMPAIGN_SEED'] ?? 1);

beforeEach(useFakeTime);
afterEach(() => vi.useRealTimers());

describe('migrations with a random fault each', () => {
  test(`${RUNS} of them, from seed ${SEED} on, leave the guest at one side, or say that they did not`, async () => {
    const verdicts = new Map<string, number>();
    const kinds = new Map<string, number>();
    const count = (map: Map<string, number>, key: string): void => {
      map.set(key, (map.get(key) ?? 0) + 1);
    };
    for (let seed = SEED; seed < SEED + RUNS; seed++) {
      const random = new SeededRandom(seed);
      const guest = await bootGuest(100 + random.below(400), seed, 500);
      const chaos = chaosOf(random, guest);
      const world = new World({ guest, ...chaos.options });
      const end = chaos.begin?.(world);
      try {
        count(verdicts, await world.run());
        count(kinds, chaos.kind);
      } catch (error) {
        throw new Error(`CAMPAIGN_SEED=${seed} CAMPAIGN_RUNS=1 (${chaos.name})`, { cause: error });
      } finally {
        end?.();
      }
    }
    const lines = [...verdicts, ...kinds].map(([name, times]) => `${String(times).padStart(6)} ${name}`);
    console.log(`campaign of ${RUNS} migrations from seed ${SEED} on:\n${lines.join('\n')}`);
    expect([...verdicts.values()].reduce((sum, times) => sum + times, 0)).toBe(RUNS);
  }, 600_000);
});
