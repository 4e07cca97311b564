import { checkOneOf, invalidTypeError } from '../base/arguments.js';
import { checkOptions, type OptionTable } from '../base/options.js';
import type { BackendName, HtabVm } from './contract.js';
import { EmulatedVm, type EmulatedVmOptions } from './emulated/emulated-vm.js';
import { ImageVm } from './image/image-vm.js';
import { KvmVm, type KvmVmOptions } from './kvm/kvm-vm.js';
import { probe } from './kvm/probe.js';

/** Which VM {@link openVm} makes. */
export interface OpenVmOptions {
  /**
   * `auto` takes the real kernel where it can be had and else the emulated one, with a process warning that says so:
   * for tests and demonstrations, not for anything that touches a guest.
   */
  readonly backend: BackendName | 'auto';
  /** For the `kvm` backend. */
  readonly kvm?: KvmVmOptions;
  /** For the `emulated` backend. */
  readonly emulated?: EmulatedVmOptions;
}

const BACKENDS = ['kvm', 'emulated', 'image', 'auto'] as const satisfies OpenVmOptions['backend'][];

export const OPEN_VM_OPTIONS = {
  backend: {
    choices: BACKENDS,
    doc: 'needed; auto takes the real kernel or else the emulated one, and is for tests and demonstrations alone',
  },
  kvm: { values: '`{ device, type }`', doc: 'for the kvm backend' },
  emulated: { values: 'those of `EmulatedVm`', doc: 'for the emulated backend' },
} as const satisfies OptionTable<OpenVmOptions>;

/**
 * Makes a VM of a backend; its `backend` says which one it is.
 *
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`) for a backend that does not exist, or none; without options
 * @throws HtabUnavailableError if `kvm` is asked for and cannot be had: why, and what to do
 *
 * @example
 * await using vm = await openVm({ backend: 'emulated', emulated: { host: 'power8' } });
 */
export async function openVm(options: OpenVmOptions): Promise<HtabVm> {
  // The likeliest mistake is no options at all, or only the name.
  if (typeof options !== 'object' || (options as OpenVmOptions | null) === null) {
    throw invalidTypeError('options', `an object with a backend: ${BACKENDS.join(', ')}`, options);
  }
  checkOptions(options, { backend: true, kvm: true, emulated: true });
  checkOneOf('options.backend', options.backend, BACKENDS);
  const { backend, kvm, emulated } = options;
  if (backend === 'emulated') return new EmulatedVm(emulated);
  if (backend === 'image') return new ImageVm();
  const { problem } = await probe({ device: kvm?.device });
  if (problem === undefined) return KvmVm.create(kvm);
  if (backend === 'kvm') throw problem;
  process.emitWarning(
    `openVm chose the emulated backend: kvm is not available, reason ${problem.reason} (see probe())`,
    {
      code: 'HTAB_EMULATED',
    },
  );
  return new EmulatedVm(emulated);
}
