import { constants } from 'node:os';
import { checkInteger } from '../../base/arguments.js';
import { HtabStateError } from '../../base/errors.js';
import { actualPageShift, basePageShift } from '../../hpt/page-size.js';
import type { HptTable } from '../../hpt/table.js';
import { BaseHandle } from '../base-handle.js';
import { BaseVm } from '../base-vm.js';
import type { CallQueue } from '../call-queue.js';
import { checkResult, systemError } from '../call-result.js';
import type { OpenHtabOptions } from '../contract.js';
import type { HostModel } from '../host.js';
import { GET_HTAB_BOLTED_ONLY, GET_HTAB_WRITE, type MmuMode, htabFlags, isRadix } from '../ioctls.js';
import { isEntryOf } from './entry-state.js';
import { Guest } from './guest.js';
import { Hypercalls } from './hcalls.js';
import { HtabFile, isVrma } from './htab-file.js';
import { frameOf } from './memory.js';
import { allows } from './mmu.js';
import { type EmulatedVmOptions, emulatedVmOptions } from './options.js';
import { commitResize, prepareResize } from './resize.js';

const { EINVAL } = constants.errno;

export type { EmulatedVmOptions } from './options.js';

/** How an access ended: `mmio` and `fault` change nothing, they go to user space or to the guest. */
export type AccessResult = 'ok' | 'fault' | 'mmio';

/**
 * A VM of the emulated kernel: answers as a POWER KVM-HV host does, byte for byte (kernel-abi.md 2 to 6).
 *
 * Beside the contract it has what a guest does to its own table: {@link hcall}, {@link access}, {@link enterGuest}.
 * @example
 * const vm = new EmulatedVm({ host: 'power8' });
 * await vm.allocateHpt(24);
 * await using handle = await vm.openHtab();
 */
export class EmulatedVm extends BaseVm {
  readonly backend = 'emulated';
  /** The hypercalls in 32-bit halves, for callers that make millions of them. */
  readonly hypercalls: Hypercalls;
  /** log2 of the host's page size, which a bit of the dirty log stands for. */
  readonly pageShift: number;
  readonly #guest: Guest;
  readonly #hpte = new Uint32Array(4);

  /** @throws RangeError for a page size or a region that no host has */
  constructor(options: EmulatedVmOptions = {}) {
    super();
    const { host, pageShift, memoryRegions } = emulatedVmOptions(options);
    this.pageShift = pageShift;
    this.#guest = new Guest(host, pageShift, memoryRegions);
    this.hypercalls = new Hypercalls(this.#guest);
  }

  get hptOrder(): number | undefined {
    return this.#guest.entries?.table.order;
  }

  /**
   * The table as the kernel keeps it. Looking is free; changes go through hypercalls and handles, or the kernel's other
   * books would not match.
   */
  get table(): HptTable | undefined {
    return this.#guest.entries?.table;
  }

  get host(): HostModel {
    return this.#guest.mmu.host;
  }

  /**
   * Number of vcpus inside KVM_RUN. While there are any, writes and allocations of a running guest fail with EBUSY.
   *
   * @throws RangeError for a negative or fractional number
   */
  get runningVcpus(): number {
    return this.#guest.runningVcpus;
  }

  set runningVcpus(count: number) {
    checkInteger('runningVcpus', count, 0, Number.MAX_SAFE_INTEGER);
    this.#guest.runningVcpus = count;
  }

  /**
   * Makes a hypercall as the guest would.
   *
   * @param opcode H_REMOVE 0x04, H_ENTER 0x08, H_READ 0x0c, H_CLEAR_MOD 0x10, H_CLEAR_REF 0x14, H_PROTECT 0x18,
   *   H_BULK_REMOVE 0x124; any other is answered H_FUNCTION
   * @param args r4 and on
   * @returns r3 (the status) and r4..r11, each as 64 unsigned bits
   */
  hcall(opcode: number, args: readonly bigint[]): bigint[] {
    return this.hypercalls.hcall(opcode, args);
  }

  /**
   * A load or store by the guest through an entry: the hardware sets R, and C on a store.
   *
   * @returns `fault` if the entry is not valid or does not allow it, `mmio` if no memory backs it
   */
  access(ptex: number, { store }: { readonly store: boolean }): AccessResult {
    const { entries, mmu, radix } = this.#guest;
    const hpte = this.#hpte;
    if (radix || entries === undefined || !isEntryOf(entries, ptex)) return 'fault';
    if (!entries.table.load(ptex, hpte)) return 'fault';
    const vHigh = hpte[0]!;
    const vLow = hpte[1]!;
    const rHigh = hpte[2]!;
    const rLow = hpte[3]!;
    if (!allows(rHigh, rLow, store)) return 'fault';
    // In real mode an entry is found only if it has the page size of the real-mode area.
    if (isVrma(vHigh, vLow) && Math.min(basePageShift(vLow, rLow), 24) !== this.#guest.vrmaPageShift)
      return 'fault';
    if (entries.absent.has(ptex)) {
      const pageShift = actualPageShift(vLow, rLow);
      const frame = frameOf(rHigh, rLow, pageShift);
      if (mmu.memory.backing(frame, pageShift) === 'none') return 'mmio';
      mmu.memory.touch(frame);
      if (mmu.memory.backing(frame, pageShift) !== 'present') return 'fault';
      mmu.map(entries, ptex);
    }
    mmu.reference(entries, ptex, store);
    return 'ok';
  }

  /**
   * KVM_GET_DIRTY_LOG of a memory region: collects C into the guest's view of the table. As the real kernel's, POWER8's lacks
   * pages of entries that the guest removed, or whose C it cleared (kernel-abi.md 3.3).
   *
   * @param slot number of the region, in the order given
   * @returns host pages stored to since the last call, bit n (byte n >> 3, lowest bit first) for page n of the region
   */
  getDirtyLog(slot: number): Uint8Array {
    const { entries, mmu } = this.#guest;
    if (entries !== undefined) mmu.harvestChanged(entries, slot);
    return mmu.memory.takeDirtyLog(slot);
  }

  /**
   * The first KVM_RUN: where the MMU is not set up, the kernel allocates a table if there is none (order 24) and enters
   * the real-mode area (VRMA) of region 0 (kernel-abi.md 4.5).
   */
  enterGuest(): void {
    const result = this.#guest.setUpMmu();
    if (result >= 0) return;
    const hint = 'the VM needs memory at guest address 0';
    throw systemError('set up the MMU', { errno: -result, syscall: 'KVM_RUN' }, hint);
  }

  /**
   * KVM_PPC_CONFIGURE_V3_MMU: to radix the table is lost, back to hash leaves none. A new VM is a hash guest's here; on a
   * real POWER9 host that uses radix itself it is a radix guest's until it is given a table.
   *
   * @throws TypeError for a mode that is neither
   * @throws HtabSystemError ENODEV on POWER8
   */
  async configureMmu(mode: MmuMode): Promise<void> {
    const radix = isRadix(mode);
    await this.attempt(`switch the MMU to ${mode}`, () =>
      checkResult('KVM_PPC_CONFIGURE_V3_MMU', this.#guest.configureMmu(radix)),
    );
  }

  /**
   * KVM_PPC_ALLOCATE_HTAB without the guard of {@link allocateHpt}: an order out of range frees the table, then fails.
   * For replaying what a kernel was asked; returns its value or minus the errno.
   *
   * @throws HtabStateError `would-crash` for order 0 without a table
   */
  allocateUnguarded(order: number): number {
    if (order === 0 && this.#guest.entries === undefined) {
      throw new HtabStateError(
        'would-crash',
        'KVM_PPC_ALLOCATE_HTAB with order 0 and no table crashes the kernel',
      );
    }
    return this.#guest.allocate(order);
  }

  /**
   * KVM_PPC_GET_HTAB_FD with raw flags; the descriptor, or minus the errno. For replaying and for single-step tests:
   * its calls are synchronous and return what the kernel returns.
   *
   * @throws RangeError unless `startIndex` is an integer in 0..2^64, what the ioctl can be told
   */
  openFile(flags: number, startIndex: number): HtabFile | number {
    checkInteger('startIndex', startIndex, 0, 2 ** 64);
    return flags > (GET_HTAB_WRITE | GET_HTAB_BOLTED_ONLY)
      ? -EINVAL
      : new HtabFile(this.#guest, flags, startIndex);
  }

  protected allocate(order: number): number {
    checkResult('KVM_PPC_ALLOCATE_HTAB', this.#guest.allocate(order));
    return order;
  }

  protected prepareResize(order: number): number {
    return checkResult('KVM_PPC_RESIZE_HPT_PREPARE', prepareResize(this.#guest, order));
  }

  protected commitResize(order: number): void {
    checkResult('KVM_PPC_RESIZE_HPT_COMMIT', commitResize(this.#guest, order));
  }

  protected open(options: OpenHtabOptions): EmulatedHandle {
    const { access = 'read', startIndex = 0 } = options;
    const file = new HtabFile(this.#guest, htabFlags(options), startIndex);
    return new EmulatedHandle(access, file, this.queue);
  }

  protected closeOnce(): void {
    // Descriptors keep the VM's table alive, as they do in the kernel.
  }
}

class EmulatedHandle extends BaseHandle {
  readonly #file: HtabFile;

  constructor(access: 'read' | 'write', file: HtabFile, queue: CallQueue) {
    super(access, queue);
    this.#file = file;
  }

  protected readOnce(buffer: Uint8Array): number {
    return checkResult('read', this.#file.read(buffer));
  }

  protected writeOnce(bytes: Uint8Array): number {
    return checkResult('write', this.#file.write(bytes));
  }

  protected closeOnce(): void {
    this.#file.release();
  }
}
