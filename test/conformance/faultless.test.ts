import type { HtabVm } from '../../lib/vm/contract.js';
import { emulatedBackend } from '../../lib/testing/emulated-backend.js';
import { FaultScript } from '../../lib/testing/faults.js';
import { describeConformance } from './suite.js';

const emulated = emulatedBackend({ host: 'power9' });
const wrapped = new WeakMap<HtabVm, HtabVm>();

describeConformance({
  ...emulated,
  name: `${emulated.name} behind an empty fault script`,
  createVm: async () => {
    const inner = await emulated.createVm();
    const vm = new FaultScript().wrapVm(inner);
    wrapped.set(vm, inner);
    return vm;
  },
  guestOf: (vm) => emulated.guestOf!(wrapped.get(vm) ?? vm),
});
