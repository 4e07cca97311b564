import { HPTE_V_1TB_HIGH, HPTE_V_BOLTED, HPTE_V_LARGE } from '../../hpt/hpte-bits.js';
import { HPTES_PER_GROUP, MAX_ORDER, MAX_STREAM_ORDER, MIN_ORDER, ptegCount } from '../../hpt/geometry.js';
import { constants } from 'node:os';
import type { CallResult } from '../call-result.js';
import type { HostModel } from '../host.js';
import { EntryState } from './entry-state.js';
import { H_SUCCESS, Mmu } from './mmu.js';
import { PhysicalMemory, type MemoryRegion } from './memory.js';

const { EBUSY, EINVAL, ENODEV, ENOMEM } = constants.errno;

const DEFAULT_ORDER = 24;
/** v of the real-mode area's entries: 1T segment, VSID 0x1ffffff (kernel-abi.md 4.5). */
export const VRMA_V_HIGH = HPTE_V_1TB_HIGH | 0x0001ffff;
export const VRMA_V_LOW = 0xff000000;
const VRMA_SLOT = 7;
const REAL_MODE_LIMIT = 2 ** 40;
const RWXX_RC_M = 0x190;

/** What the kernel keeps for one VM. */
export class Guest {
  readonly mmu: Mmu;
  readonly pageShift: number;
  entries: EntryState | undefined;
  /** The table a resize has prepared; `EntryState` is made on commit. */
  preparedOrder: number | undefined;
  radix = false;
  /** Set by the first real-mode mapping or the first KVM_RUN, cleared by an allocation (kernel-abi.md 4.5). */
  mmuReady = false;
  /** Page size of the real-mode area. */
  vrmaPageShift: number | undefined;
  /** vcpus inside KVM_RUN. */
  runningVcpus = 0;

  constructor(host: HostModel, pageShift: number, regions: readonly MemoryRegion[] | undefined) {
    this.mmu = new Mmu(host, new PhysicalMemory(pageShift, regions));
    this.pageShift = pageShift;
  }

  /** Order of the table; 0 without one, as the kernel counts. */
  get order(): number {
    return this.entries?.table.order ?? 0;
  }

  /** KVM_PPC_ALLOCATE_HTAB (kernel-abi.md 5.1), order 0 excepted: that crashes the kernel, so callers refuse it. */
  allocate(order: number): CallResult {
    if (this.mmuReady && this.runningVcpus > 0) return -EBUSY;
    this.mmuReady = false;
    this.radix = false;
    this.mmu.memory.forgetPageBits();
    if (this.entries !== undefined && this.order === order) {
      this.entries.reset();
      return 0;
    }
    this.entries = undefined;
    if (order < MIN_ORDER || order > MAX_ORDER) return -EINVAL;
    if (order > MAX_STREAM_ORDER) return -ENOMEM;
    this.entries = new EntryState(order);
    return 0;
  }

  /** KVM_PPC_CONFIGURE_V3_MMU: a switch to radix loses the table; a switch back leaves none (kernel-abi.md 1.4). */
  configureMmu(radix: boolean): CallResult {
    if (this.mmu.host === 'power8') return -ENODEV;
    if (radix === this.radix) return 0;
    if (this.runningVcpus > 0) return -EBUSY;
    this.radix = radix;
    this.entries = undefined;
    this.mmuReady = false;
    return 0;
  }

  /** A real-mode mapping written through the HTAB descriptor sets the MMU up (kernel-abi.md 4.5). */
  noteVrma(basePageShift: number): void {
    if (this.mmuReady) return;
    this.mmuReady = true;
    this.vrmaPageShift = Math.min(basePageShift, 24);
  }

  /** KVM_RUN of a guest whose MMU is not set up: the kernel makes the real-mode area (kernel-abi.md 4.5). */
  setUpMmu(): CallResult {
    if (this.mmuReady || this.radix) return 0;
    const region = this.mmu.memory.realModeRegion;
    if (region === undefined) return -EINVAL;
    this.entries ??= new EntryState(DEFAULT_ORDER);
    const shift = region.hostPageShift >= 24 ? 24 : region.hostPageShift >= 16 ? 16 : 12;
    const groups = ptegCount(this.order);
    const pages = Math.min(Math.floor(Math.min(region.bytes, REAL_MODE_LIMIT) / 2 ** shift), groups);
    const size = shift === 12 ? 0 : HPTE_V_LARGE;
    const lp = shift === 16 ? 0x1000 : 0;
    // The VSID's hash, 0x1ffffff ^ (0x1ffffff << 25), is all ones in every bit a table can have.
    for (let page = 0; page < pages; page++) {
      const address = page * 2 ** shift;
      const ptex = (~page & (groups - 1)) * HPTES_PER_GROUP + VRMA_SLOT;
      const addressHigh = Math.floor(address / 2 ** 32);
      const vLow = (Math.floor(address / 2 ** 16) & ~0x7f) | VRMA_V_LOW | HPTE_V_BOLTED | size;
      const rLow = (address & 0xffffffff) | lp | RWXX_RC_M;
      if (this.entries.table.has(ptex)) break;
      if (this.mmu.enter(this.entries, ptex, VRMA_V_HIGH, vLow >>> 0, addressHigh, rLow >>> 0) !== H_SUCCESS)
        break;
    }
    this.vrmaPageShift = shift;
    this.mmuReady = true;
    return 0;
  }
}
