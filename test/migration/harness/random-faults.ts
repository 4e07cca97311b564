import type { SeededRandom } from '../../../lib/base/random.js';
import type { TestGuest } from './test-guest.js';
import { type RandomFault, type Make, pick } from './random-fault.js';
import { frameFault, lateFrameFault, cut, flip, refused, partition } from './connection-faults.js';
import { death, interrupt, deathAtFrame } from './process-faults.js';
import { sourceFault, targetFault, resize, radix, journalFault, monitor } from './host-faults.js';

const nothing: Make = () => ({ kind: 'nothing', name: 'nothing', options: {} });

const KINDS: readonly Make[] = [
  nothing,
  frameFault,
  frameFault,
  lateFrameFault,
  lateFrameFault,
  cut,
  flip,
  refused,
  death,
  death,
  deathAtFrame,
  interrupt,
  interrupt,
  partition,
  sourceFault,
  sourceFault,
  targetFault,
  targetFault,
  resize,
  radix,
  journalFault,
  monitor,
];

/** Whatever this seed brings. */
export function randomFault(random: SeededRandom, guest: TestGuest): RandomFault {
  return pick(random, KINDS)(random, guest);
}
