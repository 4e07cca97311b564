import type { HtabVm } from '../../lib/vm/contract.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';
import { emulatedGuest } from './emulated-guest.js';
import { describeConformance } from './suite.js';

const wrapped = new WeakMap<HtabVm, EmulatedVm>();

describeConformance({
  name: 'emulated POWER9 behind an empty fault script',
  capabilities: ['lock-bit', 'power9', 'resize', 'crash-guard', 'bounded-write', 'vcpu', 'running', 'radix'],
  createVm: () => {
    const inner = new EmulatedVm({ host: 'power9' });
    const vm = new FaultScript().wrapVm(inner);
    wrapped.set(vm, inner);
    return vm;
  },
  guestOf: (vm) => emulatedGuest(wrapped.get(vm) ?? vm),
});
