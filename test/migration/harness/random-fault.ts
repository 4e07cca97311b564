import type { SeededRandom } from '../../../lib/base/random.js';
import type { TestGuest } from './test-guest.js';
import type { TwoHosts } from './two-hosts.js';
import type { TwoHostsOptions } from './two-hosts-options.js';

/** One thing that goes wrong in a migration. */
export interface RandomFault {
  /** What, with the numbers that matter: told when the migration ends as it must not. */
  readonly name: string;
  readonly kind: string;
  readonly options: Omit<TwoHostsOptions, 'guest'>;
  /** Called once the hosts exist; what it returns undoes it. */
  readonly begin?: (hosts: TwoHosts) => () => void;
}

export type Make = (random: SeededRandom, guest: TestGuest) => RandomFault;

export function pick<T>(random: SeededRandom, values: readonly T[]): T {
  return values[random.below(values.length)]!;
}
