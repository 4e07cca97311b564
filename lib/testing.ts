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
export { FaultScript, Gate, type Fault, type FaultRecord, type Strike } from './testing/faults.js';
export type { FaultyCall } from './testing/faulty-vm.js';
export { SeededRandom } from './base/random.js';
export { prepareTable, resizeTable } from './testing/resize.js';
export { GuestWorkload } from './vm/emulated/guest-workload.js';
export type { WorkloadMix, WorkloadOptions } from './vm/emulated/workload-options.js';
export { GuestRam } from './vm/emulated/guest-ram.js';
export { GuestMemoryError } from './vm/emulated/guest-contents.js';
export type { WorkloadCounts } from './vm/emulated/guest-actions.js';
export { SourceAgent } from './testing/agent/source.js';
export { DestinationAgent } from './testing/agent/destination.js';
export type { MemoryProgress, OnRound } from './testing/agent/rounds.js';
export type { AgentGuest, AgentMemory } from './testing/agent/guest.js';
export { EmulatedGuest, type EmulatedGuestOptions } from './testing/emulated-guest.js';
