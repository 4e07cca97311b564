import { constants } from 'node:os';
import { INT_MAX, checkInteger, checkPath } from '../../base/arguments.js';
import { HtabUnavailableError } from '../../base/errors.js';
import { checkOptions } from '../../base/options.js';
import { MAX_ORDER, MIN_ORDER } from '../../hpt/geometry.js';
import { BaseVm } from '../base-vm.js';
import { attempt, isCallFailure } from '../call-result.js';
import type { OpenHtabOptions } from '../contract.js';
import { type MmuMode, htabFlags, isRadix } from '../ioctls.js';
import { type Addon, type Descriptor, discard, loadAddon } from './addon.js';
import { DEFAULT_DEVICE, openDevice, wrongArchitecture } from './device.js';
import { VM, adoptFile } from './handover.js';
import { KvmHandle } from './kvm-handle.js';
import { SMMU_INFO_BYTES, type SmmuInfo, decodeSmmuInfo } from './smmu-info.js';
import { forgetOwner, watchOwner } from './unclosed.js';

const { EINVAL, ENOMEM } = constants.errno;

const V3_MMU_RADIX = 1;
/** Bit 63 of the process table must equal the radix flag. */
const PROCESS_TABLE_RADIX = 1n << 63n;

/** How a {@link KvmVm} is created. */
export interface KvmVmOptions {
  /** Default `/dev/kvm`. */
  readonly device?: string;
  /**
   * KVM_CREATE_VM's type, 0..2^31 - 1, of which kernels know 0 to 2 (kernel-abi.md 1.4). Default 1 on ppc64, which is HV
   * and nothing else; 0 elsewhere.
   */
  readonly type?: number;
}

/** How a VM descriptor of this process is taken over. */
export interface FromFdOptions {
  /** Keep a duplicate and leave the number to its owner. Default false: the number is ours, and closed with the VM. */
  readonly duplicate?: boolean;
  /** log2 of the table's bytes, 18..46, where the caller knows it; the kernel does not tell. */
  readonly hptOrder?: number;
}

async function openKvm(device: string): Promise<{ addon: Addon; kvm: Descriptor }> {
  try {
    const addon = loadAddon();
    return { addon, kvm: await openDevice(addon, device) };
  } catch (error) {
    throw (error instanceof HtabUnavailableError ? wrongArchitecture(error) : undefined) ?? error;
  }
}

/**
 * A VM of the real kernel. All of its calls and those of its handles run one after the other: the kernel takes no lock
 * between reads and ALLOCATE or RESIZE (kernel-abi.md 2.4).
 *
 * @example
 * await using vm = await KvmVm.create();
 * await vm.allocateHpt(24);
 */
export class KvmVm extends BaseVm {
  readonly backend = 'kvm';
  readonly #addon: Addon;
  readonly #descriptor: Descriptor;
  #order: number | undefined;

  private constructor(addon: Addon, descriptor: Descriptor, order?: number) {
    super();
    this.#addon = addon;
    this.#descriptor = descriptor;
    this.#order = order;
    watchOwner(this, descriptor, 'a KvmVm');
  }

  /**
   * Creates a VM, with neither memory nor vcpus nor a table.
   *
   * @throws HtabUnavailableError without an addon, a device or permission: why, as `probe` says it
   * @throws HtabSystemError KVM_CREATE_VM: EINVAL where the kernel has no VM of that type
   */
  static async create(options: KvmVmOptions = {}): Promise<KvmVm> {
    checkOptions(options, { device: true, type: true });
    const { device = DEFAULT_DEVICE, type = process.arch === 'ppc64' ? 1 : 0 } = options;
    checkPath('device', device);
    checkInteger('type', type, 0, INT_MAX);
    const { addon, kvm } = await openKvm(device);
    try {
      return new KvmVm(addon, await attempt(`create a VM of type ${type}`, () => addon.createVm(kvm, type)));
    } finally {
      await discard(kvm);
    }
  }

  /**
   * A VM that this process created: a VM ioctl by any other process is EIO (kernel-abi.md 1.4).
   *
   * @throws HtabUnavailableError `unsupported` if `fd` is not a VM's; the number stays its owner's then
   * @throws HtabSystemError EBADF if it is not open, EBUSY if it has been adopted already
   */
  static async fromFd(fd: number, options: FromFdOptions = {}): Promise<KvmVm> {
    checkOptions(options, { duplicate: true, hptOrder: true });
    const { duplicate = false, hptOrder } = options;
    if (hptOrder !== undefined) checkInteger('hptOrder', hptOrder, MIN_ORDER, MAX_ORDER);
    const addon = loadAddon();
    return new KvmVm(addon, await adoptFile(addon, fd, duplicate, VM), hptOrder);
  }

  get hptOrder(): number | undefined {
    return this.#order;
  }

  /** KVM_CHECK_EXTENSION on the VM: the capability's value, 0 for no (numbers: {@link capabilityNumbers}). */
  checkExtension(capability: number): Promise<number> {
    return this.attempt(`ask for capability ${capability}`, () =>
      this.#addon.checkExtension(this.#descriptor, capability),
    );
  }

  /** KVM_PPC_GET_SMMU_INFO: the segment and page sizes a guest may use. */
  async getSmmuInfo(): Promise<SmmuInfo> {
    const bytes = new Uint8Array(SMMU_INFO_BYTES);
    await this.attempt('ask for the page sizes', () => this.#addon.getSmmuInfo(this.#descriptor, bytes));
    return decodeSmmuInfo(bytes);
  }

  /**
   * KVM_PPC_CONFIGURE_V3_MMU: to radix the table is lost, back to hash leaves none.
   *
   * @throws TypeError for a mode that is neither
   * @throws HtabSystemError ENODEV on POWER8
   */
  async configureMmu(mode: MmuMode): Promise<void> {
    const radix = isRadix(mode);
    await this.attempt(`switch the MMU to ${mode}`, () =>
      this.#addon.configureV3Mmu(
        this.#descriptor,
        radix ? V3_MMU_RADIX : 0,
        radix ? PROCESS_TABLE_RADIX : 0n,
      ),
    );
    if (radix) this.#order = undefined;
  }

  protected async allocate(order: number): Promise<number> {
    try {
      this.#order = await this.#addon.allocateHtab(this.#descriptor, order);
      return this.#order;
    } catch (error) {
      // The kernel answers these two when the old table is already gone, and any other before it has done anything.
      if (isCallFailure(error) && [EINVAL, ENOMEM].includes(error.errno)) this.#order = undefined;
      throw error;
    }
  }

  protected prepareResize(order: number): Promise<number> {
    return this.#addon.prepareHptResize(this.#descriptor, order);
  }

  protected async commitResize(order: number): Promise<void> {
    await this.#addon.commitHptResize(this.#descriptor, order);
    this.#order = order;
  }

  protected async open(options: OpenHtabOptions): Promise<KvmHandle> {
    const { access = 'read', startIndex = 0 } = options;
    const descriptor = await this.#addon.getHtabFd(this.#descriptor, htabFlags(options), startIndex);
    return new KvmHandle(this.#addon, descriptor, access, this.queue);
  }

  protected async closeOnce(): Promise<void> {
    forgetOwner(this);
    await attempt('close the VM', () => this.#descriptor.close());
  }
}
