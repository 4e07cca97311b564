import { checkInteger, outOfRangeError } from '../../base/arguments.js';
import { HPTE_R_C, HPTE_R_R } from '../../hpt/hpte-bits.js';

/** A stretch of guest memory (a KVM memslot) and the host pages that back it. */
export interface MemoryRegion {
  /** Guest physical address of its first byte: a multiple of the host's page size, 0..2^60 - 1. */
  readonly guestAddress: bigint;
  /** Its bytes: 1 to 2^31 - 1 of the host's pages, and not beyond 2^60. */
  readonly size: bigint;
  /** log2 of the size of the host pages behind it, from the host's own `pageShift` (12 or 16) to 34: 24 for 16 MiB. */
  readonly hostPageShift: number;
  /** Whether every host page is present from the start; otherwise a page comes with its first access. */
  readonly populated: boolean;
}

/** What backs a guest page (kernel-abi.md 4.4, steps 3 to 6). */
export type Backing =
  /** No memory: the entry stands for MMIO. */
  | 'none'
  /** Memory that the entry's page size does not fit: the kernel refuses the entry. */
  | 'misfit'
  /** Memory whose host page is not there yet. */
  | 'absent'
  | 'present';

/** Host pages a memslot can have, as KVM limits it. */
const MAX_REGION_PAGES = 2 ** 31 - 1;

/** Guest page frames are counted in 4K units here, whatever the host's page size: they fit a number. */
const FRAME_SHIFT = 12;

interface Slot {
  readonly base: number;
  readonly frames: number;
  readonly hostPageShift: number;
  readonly populated: boolean;
  /** Host pages present in a region that was not populated. */
  readonly touched: Set<number>;
  /** Runs of host pages stored to since the last dirty log: their number by the first of them. */
  readonly dirty: Map<number, number>;
}

/** Refuses regions that KVM_SET_USER_MEMORY_REGION would. */
export function checkRegions(regions: readonly MemoryRegion[], pageShift: number): void {
  const pageMask = (1n << BigInt(pageShift)) - 1n;
  let end = 0n;
  for (const { guestAddress, size, hostPageShift } of [...regions].sort(byAddress)) {
    const region = `${size} bytes at ${guestAddress}`;
    if (((guestAddress | size) & pageMask) !== 0n || guestAddress < 0n || size <= 0n) {
      throw outOfRangeError('memoryRegions', 'whole host pages', region);
    }
    if (guestAddress + size > 1n << 60n || size >> BigInt(pageShift) > MAX_REGION_PAGES) {
      throw outOfRangeError(
        'memoryRegions',
        `below 2^60 and of at most ${MAX_REGION_PAGES} host pages`,
        region,
      );
    }
    if (guestAddress < end) throw outOfRangeError('memoryRegions', 'apart from each other', region);
    checkInteger('hostPageShift', hostPageShift, pageShift, 34);
    end = guestAddress + size;
  }
}

function byAddress(a: MemoryRegion, b: MemoryRegion): number {
  return a.guestAddress < b.guestAddress ? -1 : 1;
}

/** Guest frame of an HPTE's page: its RPN without the bits below the page size. */
export function frameOf(rHigh: number, rLow: number, actualPageShift: number): number {
  // By masks: a remainder of doubles costs as much as the rest of a hypercall.
  const low = actualPageShift < 32 ? rLow & (-1 << actualPageShift) : 0;
  const high = actualPageShift < 32 ? rHigh : rHigh & (-1 << (actualPageShift - 32));
  return (high & 0x0fffffff) * 2 ** 20 + (low >>> FRAME_SHIFT);
}

/** The guest's memory as its page table sees it: which pages there are, and what they remember of R and C. */
export class PhysicalMemory {
  readonly #slots: readonly Slot[];
  readonly #pageShift: number;
  /** Everything is there, in pages as large as wished. */
  readonly #boundless: boolean;
  /** R and C that a host page has collected from entries no longer mapping it (kernel-abi.md 3). */
  readonly #pageBits = new Map<number, number>();

  constructor(pageShift: number, regions: readonly MemoryRegion[] | undefined) {
    this.#pageShift = pageShift;
    this.#boundless = regions === undefined;
    const all = regions ?? [{ guestAddress: 0n, size: 1n << 60n, hostPageShift: 24, populated: true }];
    this.#slots = all.map((region) => ({
      base: Number(region.guestAddress >> 12n),
      frames: Number(region.size >> 12n),
      hostPageShift: region.hostPageShift,
      populated: region.populated,
      touched: new Set(),
      dirty: new Map(),
    }));
  }

  /** The region at guest address 0, where the real-mode area lies. */
  get realModeRegion(): { readonly bytes: number; readonly hostPageShift: number } | undefined {
    const slot = this.#slots.find(({ base }) => base === 0);
    return slot && { bytes: slot.frames * 2 ** FRAME_SHIFT, hostPageShift: slot.hostPageShift };
  }

  /** What backs the page of `2^pageShift` bytes that begins at `frame`. */
  backing(frame: number, pageShift: number): Backing {
    if (this.#boundless) return 'present';
    const slot = this.#slotOf(frame);
    if (slot === undefined) return 'none';
    const frames = 2 ** (pageShift - FRAME_SHIFT);
    if (pageShift > this.#pageShift && (slot.base % frames !== 0 || slot.frames % frames !== 0))
      return 'misfit';
    const known = slot.populated || this.#hasHostTable(slot, frame);
    if (known && slot.hostPageShift < pageShift) return 'misfit';
    return slot.populated || slot.touched.has(hostPage(slot, frame)) ? 'present' : 'absent';
  }

  /** An access brings the host page in. */
  touch(frame: number): void {
    const slot = this.#slotOf(frame);
    if (slot !== undefined && !slot.populated) slot.touched.add(hostPage(slot, frame));
  }

  /** R and C the page has seen through entries that no longer map it. */
  pageBits(frame: number): number {
    if (this.#pageBits.size === 0) return 0;
    return this.#pageBits.get(this.#pageOf(frame)) ?? 0;
  }

  /** An entry stops mapping the page: the page keeps the hardware's R and C. */
  collect(frame: number, bits: number): void {
    const held = bits & (HPTE_R_R | HPTE_R_C);
    if (held === 0) return;
    const page = this.#pageOf(frame);
    this.#pageBits.set(page, (this.#pageBits.get(page) ?? 0) | held);
  }

  /** Forgets what pages collected, as an allocation of the table does. */
  forgetPageBits(): void {
    this.#pageBits.clear();
  }

  /** Notes a store to the page in its region's dirty log. */
  markDirty(frame: number, pageShift: number): void {
    const slot = this.#slotOf(frame);
    if (slot === undefined) return;
    const first = this.#pageOf(frame - slot.base);
    const pages = 2 ** Math.max(0, pageShift - this.#pageShift);
    if (pages > (slot.dirty.get(first) ?? 0)) slot.dirty.set(first, pages);
  }

  /** Number of the region a frame lies in, or -1. */
  regionOf(frame: number): number {
    return this.#slots.findIndex(({ base, frames }) => frame >= base && frame < base + frames);
  }

  /**
   * Takes a region's dirty log: bit n of the bitmap (byte n >> 3, least significant first) stands for host page n.
   * Memory without regions is logged up to its last page stored to, and to the size that a region can have.
   *
   * @throws RangeError if there is no such region
   */
  takeDirtyLog(region: number): Uint8Array {
    const slot = this.#slots[region];
    if (slot === undefined)
      throw outOfRangeError('slot', `one of the ${this.#slots.length} memory regions`, region);
    let pages = this.#boundless ? 0 : this.#pageOf(slot.frames);
    if (this.#boundless) for (const [first, count] of slot.dirty) pages = Math.max(pages, first + count);
    pages = Math.min(pages, MAX_REGION_PAGES);
    // KVM's bitmap is made of 64-bit words.
    const bitmap = new Uint8Array(Math.ceil(pages / 64) * 8);
    for (const [first, count] of slot.dirty) {
      const end = Math.min(first + count, pages);
      for (let page = first; page < end; page++) bitmap[page >>> 3]! |= 1 << (page & 7);
    }
    slot.dirty.clear();
    return bitmap;
  }

  #slotOf(frame: number): Slot | undefined {
    return this.#slots[this.regionOf(frame)];
  }

  /** Number of the host page a frame lies in, counted in the host's base pages. */
  #pageOf(frame: number): number {
    return Math.floor(frame / 2 ** (this.#pageShift - FRAME_SHIFT));
  }

  /** Whether the host has a page table entry, empty or not, for the frame's page. */
  #hasHostTable(slot: Slot, frame: number): boolean {
    if (slot.touched.size === 0) return false;
    // The lowest level of the host's tables spans 2 MiB.
    const pages = 2 ** Math.max(0, 21 - slot.hostPageShift);
    const first = hostPage(slot, frame);
    const start = first - (first % pages);
    for (let page = start; page < start + pages; page++) if (slot.touched.has(page)) return true;
    return false;
  }
}

function hostPage(slot: Slot, frame: number): number {
  return Math.floor(frame / 2 ** (slot.hostPageShift - FRAME_SHIFT));
}
