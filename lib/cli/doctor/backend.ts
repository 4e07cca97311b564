import type { Capability, ConformanceBackend, ConformanceGuest } from '../../testing/conformance/context.js';
import { emulatedBackend } from '../../testing/emulated-backend.js';
import { KvmVm } from '../../vm/kvm/kvm-vm.js';
import type { ProbeResult } from '../../vm/kvm/probe.js';
import type { HtabVm } from '../../vm/contract.js';
import type { HostModel } from '../../vm/host.js';
import type { EmulatedSpec } from '../table/emulated-spec.js';

/** The emulation, whose guest does as it is told: nothing is left out. */
export function emulated({ host, pageShift }: EmulatedSpec): ConformanceBackend {
  return emulatedBackend({ host, pageShift });
}

/**
 * This machine's kernel, with VMs that no guest runs in: what needs one is left out.
 *
 * @param device such as `/dev/kvm`
 * @param hostMmu as `probe` found it
 * @param processor bits of v are lost on all but POWER8 (kernel-abi.md 3.1)
 */
export function scratchVms(
  device: string,
  hostMmu: ProbeResult['hostMmu'],
  processor: HostModel,
): ConformanceBackend {
  const isRadix = hostMmu === 'radix';
  const capabilities: Capability[] = ['lock-bit', 'resize', 'over-read', processor];
  return {
    name: 'a VM without a guest',
    capabilities: isRadix ? [...capabilities, 'radix'] : capabilities,
    createVm: async () => {
      const vm = await KvmVm.create({ device });
      // There a new VM is a radix guest's.
      if (isRadix) await vm.configureMmu('hash');
      return vm;
    },
    guestOf,
  };
}

function guestOf(vm: HtabVm): ConformanceGuest {
  if (!(vm instanceof KvmVm)) throw new TypeError('not a VM of this process');
  return { setRadix: (radix) => vm.configureMmu(radix ? 'radix' : 'hash') };
}
