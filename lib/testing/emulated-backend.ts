import { EmulatedVm, type EmulatedVmOptions } from '../vm/emulated/emulated-vm.js';
import type { HtabVm } from '../vm/contract.js';
import type { Capability, ConformanceBackend, ConformanceGuest } from './conformance/context.js';

const CAPABILITIES: readonly Capability[] = [
  'lock-bit',
  'resize',
  'bounded-write',
  'vcpu',
  'running',
  'dirty-log',
];

/**
 * The emulated kernel as a backend of the conformance suite: to see the suite at work, and how a backend of one's own is
 * described to it.
 *
 * @example
 * import { emulatedBackend, runConformance } from 'kvm-htab/testing';
 *
 * const results = await runConformance(emulatedBackend({ host: 'power9' }), ({ outcome, title, reason, error }) => {
 *   console.log(outcome, title, reason ?? error ?? '');
 * });
 * process.exitCode = results.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
 *
 * @example
 * // What stands around a VM is tested around this one, and has the same capabilities. Its guest is that of the VM within.
 * const emulated = emulatedBackend();
 * const within = new WeakMap();
 * await runConformance({
 *   ...emulated,
 *   name: 'my wrapper',
 *   createVm: async () => {
 *     const vm = await emulated.createVm();
 *     const wrapper = new MyWrapper(vm);
 *     within.set(wrapper, vm);
 *     return wrapper;
 *   },
 *   guestOf: (wrapper) => emulated.guestOf(within.get(wrapper)),
 * });
 */
export function emulatedBackend({
  host = 'power9',
  pageShift = 16,
}: Pick<EmulatedVmOptions, 'host' | 'pageShift'> = {}): ConformanceBackend {
  return {
    name: `emulated ${host.toUpperCase()} with ${2 ** (pageShift - 10)}K pages`,
    // A POWER8 host has no radix guests.
    capabilities: host === 'power8' ? [...CAPABILITIES, 'power8'] : [...CAPABILITIES, 'power9', 'radix'],
    createVm: () => new EmulatedVm({ host, pageShift }),
    guestOf: emulatedGuest,
  };
}

function emulatedGuest(vm: HtabVm): ConformanceGuest {
  if (!(vm instanceof EmulatedVm)) {
    throw new TypeError('not an emulated VM: the guestOf of what stands around one must give the VM within');
  }
  return {
    hcall: (opcode, args) => vm.hcall(opcode, args),
    access: (ptex, options) => vm.access(ptex, options),
    setRunning: (running) => {
      vm.runningVcpus = running ? 1 : 0;
    },
    dirtyLog: () => vm.getDirtyLog(0),
    setRadix: (radix) => vm.configureMmu(radix ? 'radix' : 'hash'),
  };
}
