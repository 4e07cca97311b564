import { endianness, release } from 'node:os';
import { checkPath } from '../../base/arguments.js';
import { HtabSystemError, HtabUnavailableError } from '../../base/errors.js';
import { checkOptions } from '../../base/options.js';
import { attempt } from '../call-result.js';
import { type Addon, discard, loadAddon } from './addon.js';
import { API_VERSION, DEFAULT_DEVICE, openDevice, wrongArchitecture } from './device.js';
import { KvmVm } from './kvm-vm.js';
import type { SmmuInfo } from './smmu-info.js';

/** Numbers of the capabilities that matter here (kernel-abi.md 1.3). */
export const capabilityNumbers = {
  PPC_SMT: 64,
  PPC_PAPR: 68,
  PPC_GET_SMMU_INFO: 78,
  PPC_ALLOC_HTAB: 80,
  PPC_HTAB_FD: 84,
  ENABLE_CAP_VM: 98,
  PPC_ENABLE_HCALL: 104,
  SPAPR_RESIZE_HPT: 133,
  PPC_MMU_RADIX: 134,
  PPC_MMU_HASH_V3: 135,
  PPC_NESTED_HV: 160,
} as const;

/** KVM_CREATE_VM's type for KVM-PR (kernel-abi.md 1.4). */
const VM_TYPE_PR = 2;

export type CapabilityName = keyof typeof capabilityNumbers;

/** What this machine's KVM is. Fields it did not get as far as asking for are undefined. */
export interface ProbeResult {
  readonly platform: NodeJS.Platform;
  readonly arch: NodeJS.Architecture;
  readonly byteOrder: 'LE' | 'BE';
  /** Release of the kernel. */
  readonly kernel: string;
  readonly device: string;
  /** Version of the KVM interface: 12, or undefined where the device speaks another. */
  readonly apiVersion?: number;
  /**
   * `hv` has hashed page tables behind descriptors; `pr` keeps them in user space; `nested` is HV within a guest; `none`
   * makes no VM that has one.
   */
  readonly flavour?: 'hv' | 'pr' | 'nested' | 'none';
  /** How the host translates its own addresses; guests can be hashed ones on either. */
  readonly hostMmu?: 'hash' | 'radix';
  /** Each as a VM answers it, or the device where no VM could be made. 0 is no. */
  readonly capabilities?: Readonly<Record<CapabilityName, number>>;
  readonly smmu?: SmmuInfo;
  /** Why the `kvm` backend cannot be used here and what to do about it; undefined if it can. */
  readonly problem?: HtabUnavailableError;
}

/** Where a {@link ProbeResult} is filled in. */
type Findings = { -readonly [Field in keyof ProbeResult]: ProbeResult[Field] };

/**
 * Looks at this machine's KVM: opens the device, makes an empty VM and closes both again. What it does not find it
 * says in `problem`.
 *
 * @example
 * const { problem } = await probe();
 * if (problem !== undefined) console.log(problem.reason, problem.hint);
 */
export async function probe(options: { readonly device?: string | undefined } = {}): Promise<ProbeResult> {
  checkOptions(options, { device: true });
  const { device = DEFAULT_DEVICE } = options;
  checkPath('device', device);
  const findings: Findings = {
    platform: process.platform,
    arch: process.arch,
    byteOrder: endianness(),
    kernel: release(),
    device,
  };
  try {
    await ask(device, findings);
  } catch (error) {
    findings.problem = unavailableError(error);
  }
  return findings;
}

async function ask(device: string, findings: Findings): Promise<void> {
  const problem = wrongArchitecture();
  if (problem !== undefined) {
    findings.flavour = 'none';
    try {
      await askDevice(loadAddon(), device, findings);
    } catch {
      // Whatever stands in the way of the addon or the device here, the architecture does too.
    }
    throw problem;
  }
  await askDevice(loadAddon(), device, findings);
  await askVm(device, findings);
}

async function askDevice(addon: Addon, device: string, findings: Findings): Promise<void> {
  const kvm = await openDevice(addon, device);
  try {
    findings.apiVersion = API_VERSION;
    findings.capabilities = await capabilities((number) =>
      attempt(`ask for capability ${number}`, () => addon.checkExtension(kvm, number)),
    );
  } finally {
    await discard(kvm);
  }
}

async function askVm(device: string, findings: Findings): Promise<void> {
  if (findings.capabilities?.PPC_HTAB_FD === 0) {
    findings.flavour = await flavourWithoutHtab(device);
    throw new HtabUnavailableError(
      'not-hv',
      findings.flavour === 'pr'
        ? 'this KVM is not KVM-HV: user space keeps the table itself'
        : 'neither kvm-hv nor kvm-pr is loaded',
      'load the kvm-hv module (modprobe kvm-hv) on a bare-metal POWER host, or use the image backend',
    );
  }
  const vm = await KvmVm.create({ device });
  try {
    findings.capabilities = await capabilities((number) => vm.checkExtension(number));
    findings.smmu = await vm.getSmmuInfo();
  } finally {
    await vm.close();
  }
  findings.hostMmu = findings.capabilities.PPC_MMU_RADIX === 0 ? 'hash' : 'radix';
  findings.flavour = findings.smmu.noHash ? 'nested' : 'hv';
  if (findings.smmu.noHash) {
    throw new HtabUnavailableError(
      'not-hv',
      'this host is itself a guest, and cannot run hash guests',
      'run on a bare-metal (PowerNV) host',
    );
  }
}

/** The device may be there without either of the modules that make VMs. */
async function flavourWithoutHtab(device: string): Promise<'pr' | 'none'> {
  try {
    const vm = await KvmVm.create({ device, type: VM_TYPE_PR });
    await vm.close();
    return 'pr';
  } catch (error) {
    if (error instanceof HtabSystemError && error.errnoName === 'EINVAL') return 'none';
    throw error;
  }
}

async function capabilities(
  check: (number: number) => Promise<number>,
): Promise<Readonly<Record<CapabilityName, number>>> {
  const answers = {} as Record<CapabilityName, number>;
  for (const [name, number] of Object.entries(capabilityNumbers)) {
    answers[name as CapabilityName] = await check(number);
  }
  return answers;
}

function unavailableError(error: unknown): HtabUnavailableError {
  if (error instanceof HtabUnavailableError) return error;
  if (!(error instanceof HtabSystemError)) throw error;
  return new HtabUnavailableError(
    'unsupported',
    `${error.syscall} failed with ${error.errnoName}`,
    error.hint ?? 'see the cause',
    { cause: error },
  );
}
