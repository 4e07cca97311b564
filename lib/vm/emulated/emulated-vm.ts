import { constants } from 'node:os';
import { checkInteger, checkObject, outOfRange } from '../../arguments.js';
import { HtabStateError } from '../../errors.js';
import { HPTE_R_PP, HPTE_R_PP0_HIGH, actualPageShift, basePageShift } from '../../hpt/hpte.js';
import type { HptTable } from '../../hpt/table.js';
import { BaseHandle, BaseVm, type CallQueue, type CallResult, checkCall } from '../base.js';
import type { OpenHtabOptions } from '../contract.js';
import type { HostModel } from '../host.js';
import { GET_HTAB_BOLTED_ONLY, GET_HTAB_WRITE, type MmuMode, htabFlags, isRadix } from '../ioctls.js';
import { Guest } from './guest.js';
import { Hypercalls } from './hcalls.js';
import { HtabFile, isVrma } from './htab-file.js';
import { MAX_REGION_PAGES, type MemoryRegion, frameOf } from './memory.js';
import { isEntryOf } from './mmu.js';
import { commitResize, prepareResize } from './resize.js';

const { EINVAL } = constants.errno;
const HOSTS: readonly HostModel[] = ['power8', 'power9'];

/** What an {@link EmulatedVm} is like. */
export interface EmulatedVmOptions {
  /** Processor of the host: POWER9 drops bits 52..61 of `v`. Default `power9`. */
  readonly host?: HostModel;
  /** log2 of the host's page size: 12 or 16. Default 16. */
  readonly pageShift?: number;
  /** The guest's memory, which must not overlap; without it all of it is present, behind pages of any size. */
  readonly memoryRegions?: readonly MemoryRegion[];
}

/** How an access ended: `mmio` and `fault` change nothing, they go to user space or to the guest. */
export type AccessResult = 'ok' | 'fault' | 'mmio';

/**
 * A VM of the emulated kernel: answers as a POWER KVM-HV host does, byte for byte (kernel-abi.md 2 to 6).
 *
 * Beside the contract it has what a guest does to its own table: {@link hcall}, {@link access}, {@link enterGuest}.
 *
 * @example
 * const vm = new EmulatedVm({ host: 'power8' });
 * await vm.allocateHpt(24);
 * await using handle = await vm.openHtab();
 */
export class EmulatedVm extends BaseVm {
  readonly backend = 'emulated';
  /** The hypercalls in 32-bit halves, for callers that make millions of them. */
  readonly hypercalls: Hypercalls;
  readonly #guest: Guest;
  readonly #hpte = new Uint32Array(4);

  /** @throws RangeError for a page size or a region that no host has */
  constructor(options: EmulatedVmOptions = {}) {
    super();
    checkObject('options', options);
    const { host = 'power9', pageShift = 16, memoryRegions } = options;
    if (!HOSTS.includes(host)) throw outOfRange('host', HOSTS.join(' or '), host);
    if (pageShift !== 12 && pageShift !== 16) throw outOfRange('pageShift', '12 or 16', pageShift);
    if (memoryRegions !== undefined) checkRegions(memoryRegions, pageShift);
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

  /** Number of vcpus inside KVM_RUN: while there are any, writes and allocations of a running guest fail with EBUSY. */
  get runningVcpus(): number {
    return this.#guest.runningVcpus;
  }

  /** @throws RangeError for a number that cannot be */
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
   * @returns `fault` if the entry is not valid or does not allow it, `mmio` if no memory stands behind it
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
   * KVM_GET_DIRTY_LOG of a memory region: collects C into the guest's view of the table.
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
    checkCall(this.#guest.setUpMmu(), 'KVM_RUN', 'set up the MMU', 'the VM needs memory at guest address 0');
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
    await this.call(() =>
      checkCall(this.#guest.configureMmu(radix), 'KVM_PPC_CONFIGURE_V3_MMU', `switch the MMU to ${mode}`),
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

  protected allocate(order: number): CallResult {
    return this.#guest.allocate(order);
  }

  protected prepareResize(order: number): CallResult {
    return prepareResize(this.#guest, order);
  }

  protected commitResize(order: number): CallResult {
    return commitResize(this.#guest, order);
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

/** Refuses regions that KVM_SET_USER_MEMORY_REGION would. */
function checkRegions(regions: readonly MemoryRegion[], pageShift: number): void {
  const pageMask = (1n << BigInt(pageShift)) - 1n;
  let end = 0n;
  for (const { guestAddress, size, hostPageShift } of [...regions].sort(byAddress)) {
    const region = `${size} bytes at ${guestAddress}`;
    if (((guestAddress | size) & pageMask) !== 0n || guestAddress < 0n || size <= 0n) {
      throw outOfRange('memoryRegions', 'whole host pages', region);
    }
    if (guestAddress + size > 1n << 60n || size >> BigInt(pageShift) > MAX_REGION_PAGES) {
      throw outOfRange('memoryRegions', `below 2^60 and of at most ${MAX_REGION_PAGES} host pages`, region);
    }
    if (guestAddress < end) throw outOfRange('memoryRegions', 'apart from each other', region);
    checkInteger('hostPageShift', hostPageShift, pageShift, 34);
    end = guestAddress + size;
  }
}

function byAddress(a: MemoryRegion, b: MemoryRegion): number {
  return a.guestAddress < b.guestAddress ? -1 : 1;
}

class EmulatedHandle extends BaseHandle {
  readonly #file: HtabFile;

  constructor(access: 'read' | 'write', file: HtabFile, queue: CallQueue) {
    super(access, queue);
    this.#file = file;
  }

  protected readOnce(buffer: Uint8Array): CallResult {
    return this.#file.read(buffer);
  }

  protected writeOnce(bytes: Uint8Array): CallResult {
    return this.#file.write(bytes);
  }

  protected closeOnce(): void {
    this.#file.release();
  }
}

/** Page protection of a privileged access with Ks = 0: 0, 1, 2 allow stores; 3 and pp0 with 2 only loads. */
function allows(rHigh: number, rLow: number, store: boolean): boolean {
  return !store || ((rHigh & HPTE_R_PP0_HIGH) === 0 && (rLow & HPTE_R_PP) !== 3);
}
