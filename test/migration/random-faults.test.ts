import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SeededRandom } from '../../lib/base/random.js';
import { randomFault } from './harness/random-faults.js';
import { randomRest, type RestCallName } from './harness/test-rest.js';
import { bootGuest, useFakeTime } from './harness/test-guest.js';
import { TwoHosts } from './harness/two-hosts.js';

/** `CAMPAIGN_SEED=1234 CAMPAIGN_RUNS=1` makes one of them again; .ci/run makes 2,000. */
const RUNS = Number(process.env['CAMPAIGN_RUNS'] ?? 400);
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
      const fault = randomFault(random, guest);
      // Every other guest is moved whole.
      const die = (call: RestCallName): void => {
        hosts[call === 'finish' ? 'source' : 'destination'].kill();
      };
      const whole = random.chance(0.5) ? randomRest(random, die) : undefined;
      const hosts: TwoHosts = new TwoHosts({ guest, ...fault.options, rest: whole?.rest });
      const end = fault.begin?.(hosts);
      try {
        count(verdicts, `${whole === undefined ? 'the table alone' : 'whole'}: ${await hosts.run()}`);
        count(kinds, fault.kind);
        if (whole !== undefined) count(kinds, `rest: ${whole.name}`);
      } catch (error) {
        throw new Error(
          `CAMPAIGN_SEED=${seed} CAMPAIGN_RUNS=1 (${fault.name}; ${whole?.name ?? 'the table alone'})`,
          { cause: error },
        );
      } finally {
        end?.();
      }
    }
    const lines = [...verdicts, ...kinds].map(([name, times]) => `${String(times).padStart(6)} ${name}`);
    console.log(`campaign of ${RUNS} migrations from seed ${SEED} on:\n${lines.join('\n')}`);
    expect([...verdicts.values()].reduce((sum, times) => sum + times, 0)).toBe(RUNS);
  }, 7_200_000);
});
