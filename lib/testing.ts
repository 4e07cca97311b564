/** What others test with: the conformance suite, scripted faults, a guest at work. Public as `kvm-htab/testing`. */
export {
  conformanceCases,
  reasonToSkip,
  runCase,
  runConformance,
  titleOf,
  type ConformanceResult,
} from './testing/conformance.js';
export type {
  Capability,
  ConformanceBackend,
  ConformanceCase,
  ConformanceGuest,
} from './testing/conformance/context.js';
export { emulatedBackend } from './testing/emulated-backend.js';
export {
  FaultScript,
  Gate,
  type Fault,
  type FaultRecord,
  type FaultyCall,
  type Strike,
} from './testing/faults.js';
export { SeededRandom } from './testing/random.js';
export { prepareTable, resizeTable } from './testing/resize.js';
export {
  GuestWorkload,
  type WorkloadCounts,
  type WorkloadMix,
  type WorkloadOptions,
} from './testing/workload.js';
