import type { ConformanceGuest } from '../../lib/testing/conformance/context.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { EmulatedVm } from '../../lib/vm/emulated/emulated-vm.js';

/** What the suite can make the guest of an emulated VM do. */
export function emulatedGuest(vm: HtabVm): ConformanceGuest {
  if (!(vm instanceof EmulatedVm)) throw new TypeError('not an emulated VM');
  return {
    hcall: (opcode, args) => vm.hcall(opcode, args),
    access: (ptex, options) => vm.access(ptex, options),
    setRunning: (running) => {
      vm.runningVcpus = running ? 1 : 0;
    },
    setRadix: (radix) => vm.configureMmu(radix ? 'radix' : 'hash'),
  };
}
