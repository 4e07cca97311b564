import { conformanceCases, reasonToSkip, runCase, titleOf } from '../../lib/testing/conformance.js';
import type {
  Capability,
  ConformanceBackend,
  ConformanceCase,
  ConformanceGuest,
} from '../../lib/testing/conformance/context.js';
import { scratchVms } from '../../lib/cli/doctor/backend.js';
import type { HtabVm } from '../../lib/vm/contract.js';
import { DEFAULT_DEVICE } from '../../lib/vm/kvm/device.js';
import { KvmVm } from '../../lib/vm/kvm/kvm-vm.js';
import type { Host } from './host.js';
import type { Test } from './runner.js';
import { SteppedVm } from './stepped-vm.js';

/** What takes a guest that does as it is told. */
const GUEST: readonly Capability[] = ['vcpu', 'running', 'dirty-log'];

/**
 * The suite every backend passes, on the real kernel: with VMs of this process, and what needs a guest that runs with
 * those of another one.
 */
export function conformanceSuite(test: Test, host: Host): void {
  const backendOf = kernelBackends(host);
  for (const each of conformanceCases) {
    const backend = backendOf(each);
    test(titleOf(each), async (t) => {
      const reason = reasonToSkip(each, backend);
      if (reason !== undefined) t.skip(reason);
      await runCase(each, backend);
    });
  }
}

/** Which backend a case runs on, on this machine. */
export function kernelBackends(host: Host): (each: ConformanceCase) => ConformanceBackend {
  const own = scratchVms(DEFAULT_DEVICE, host.mmu, host.processor);
  const stepped: ConformanceBackend = {
    name: 'kvm with a guest',
    capabilities: [...own.capabilities, ...GUEST],
    createVm: () => SteppedVm.create(),
    guestOf: steppedGuest,
  };
  return ({ requires = [] }) => (requires.some((capability) => GUEST.includes(capability)) ? stepped : own);
}

/** A VM without a table; on a radix host it is a radix guest's until it is told otherwise. */
export async function createHashVm(host: Host): Promise<KvmVm> {
  const vm = await KvmVm.create();
  if (host.mmu === 'radix') await vm.configureMmu('hash');
  return vm;
}

function steppedGuest(vm: HtabVm): ConformanceGuest {
  if (!(vm instanceof SteppedVm)) throw new TypeError('not a VM with a guest');
  return vm;
}
