import { HPTES_PER_GROUP } from '../../hpt/geometry.js';
import { primaryGroup, secondaryGroup } from '../../hpt/hash.js';
import {
  HPTE_R_KEY_LO,
  HPTE_R_N,
  HPTE_R_PP,
  HPTE_R_PP0_HIGH,
  HPTE_V_SECONDARY,
} from '../../hpt/hpte-bits.js';
import { joinHalves } from '../../hpt/halves.js';
import { actualPageShift } from '../../hpt/page-size.js';
import type { HptTable } from '../../hpt/table.js';
import type { SeededRandom } from '../../base/random.js';
import type { EmulatedVm } from './emulated-vm.js';
import type { GuestContents } from './guest-contents.js';
import type { GuestPages } from './guest-pages.js';
import { RAM_BLOCK_BYTES } from './guest-ram.js';
import { H_AVPN, H_BULK_REMOVE } from './hcalls.js';
import { frameOf } from './memory.js';

/** What the guest has done so far. */
export interface WorkloadCounts {
  readonly steps: number;
  /** Entries made, and how many of them in the secondary group. */
  readonly faults: number;
  readonly secondaryFaults: number;
  readonly evictions: number;
  readonly protections: number;
  readonly loads: number;
  readonly stores: number;
  /** Steps that found nothing to do, such as an eviction from an empty table. */
  readonly idle: number;
}

/** What a guest is made of, beside its table. */
export interface GuestParts {
  readonly pages: GuestPages;
  readonly random: SeededRandom;
  readonly counts: Readonly<Record<string, number>>;
  /** Of its memory, if that has contents. */
  readonly contents: GuestContents | undefined;
}

const READ_WRITE = 2;
const READ_ONLY = 3;
/** Requests of one H_BULK_REMOVE. */
export const BULK = 4;
const BULK_REQUEST_AVPN = 0x42n << 56n;
const BULK_END = 0xc0n << 56n;
const LOAD = { store: false };
const STORE = { store: true };
/** `frameOf` counts in 4K units. */
const FRAME_BYTES = 4096;

/**
 * What a guest does to one of its pages: hypercalls, loads and stores. Each returns false where it had no effect; so
 * does a page of -1, which is none.
 */
export class GuestActions {
  readonly counts: { -readonly [Name in keyof WorkloadCounts]: number } = {
    steps: 0,
    faults: 0,
    secondaryFaults: 0,
    evictions: 0,
    protections: 0,
    loads: 0,
    stores: 0,
    idle: 0,
  };
  /** The table that the pages lie in. */
  table: HptTable;
  readonly #vm: EmulatedVm;
  readonly #pages: GuestPages;
  readonly #random: SeededRandom;
  readonly #contents: GuestContents | undefined;
  readonly #hpte = new Uint32Array(4);

  constructor(vm: EmulatedVm, table: HptTable, { pages, random, counts, contents }: GuestParts) {
    Object.assign(this.counts, counts);
    this.table = table;
    this.#vm = vm;
    this.#pages = pages;
    this.#random = random;
    this.#contents = contents;
  }

  /** Whether the page is in the table. Another writer of the table may have removed it. */
  isMapped(page: number): boolean {
    const ptex = this.#pages.place[page]!;
    if (ptex >= 0 && !this.table.has(ptex)) this.#pages.unsettle(page);
    return this.#pages.place[page]! >= 0;
  }

  /** Enters a page where its hash leads; false if bolted entries fill both of its groups. */
  enter(page: number): boolean {
    const hash = this.#pages.hash[page]!;
    const { order } = this.table;
    const primary = primaryGroup(hash, order);
    if (this.#enterGroup(page, primary, false)) return true;
    if (this.#enterGroup(page, secondaryGroup(hash, order), true)) return true;
    return this.#makeRoom(primary) && this.#enterGroup(page, primary, false);
  }

  #enterGroup(page: number, group: number, secondary: boolean): boolean {
    const { vHigh, vLow, rHigh, rLow } = this.#pages;
    const flags = secondary ? HPTE_V_SECONDARY : 0;
    const first = group * HPTES_PER_GROUP;
    const ptex = this.#vm.hypercalls.enter(
      0,
      first,
      vHigh[page]!,
      vLow[page]! | flags,
      rHigh[page]!,
      rLow[page]!,
    );
    if (ptex < 0) return false;
    this.#pages.settle(page, ptex, secondary);
    this.counts.faults++;
    if (secondary) this.counts.secondaryFaults++;
    return true;
  }

  /** Evicts one page from the group, looking from a random slot on, as Linux does. */
  #makeRoom(group: number): boolean {
    const start = this.#random.below(HPTES_PER_GROUP);
    for (let look = 0; look < HPTES_PER_GROUP; look++) {
      const ptex = group * HPTES_PER_GROUP + ((start + look) % HPTES_PER_GROUP);
      const victim = this.#pages.at(ptex);
      if (victim !== undefined && victim >= this.#pages.pinned && this.evict(victim)) return true;
    }
    return false;
  }

  evict(page: number): boolean {
    if (page < 0) return false;
    const { place, vHigh, vLow } = this.#pages;
    const avpnLow = (vLow[page]! & ~0x7f) >>> 0;
    const status = this.#vm.hypercalls.remove(H_AVPN, place[page]!, vHigh[page]!, avpnLow);
    this.#pages.unsettle(page);
    if (status !== 0) return false;
    this.counts.evictions++;
    return true;
  }

  /** Removes up to four pages with one H_BULK_REMOVE; false if there are none. */
  evictAtOnce(pages: readonly number[]): boolean {
    const { place, vHigh, vLow } = this.#pages;
    const args = pages.flatMap((page) => [
      BULK_REQUEST_AVPN | BigInt(place[page]!),
      joinHalves(vHigh[page]!, vLow[page]! & ~0x7f),
    ]);
    if (pages.length < BULK) args.push(BULK_END, 0n);
    const [, ...answers] = this.#vm.hcall(H_BULK_REMOVE, args);
    for (const [index, page] of pages.entries()) {
      this.#pages.unsettle(page);
      if (answers[index * 2]! >> 60n === 8n) this.counts.evictions++;
    }
    return pages.length > 0;
  }

  protect(page: number): boolean {
    if (page < 0) return false;
    const { place, vHigh, vLow, rHigh, rLow } = this.#pages;
    const protection = ((rHigh[page]! & HPTE_R_PP0_HIGH) >>> 29) | (rLow[page]! & HPTE_R_PP);
    // Any other protection is left as it is, which is a change to the kernel all the same.
    const toggles = protection === READ_WRITE || protection === READ_ONLY;
    const low = toggles ? rLow[page]! ^ (READ_WRITE ^ READ_ONLY) : rLow[page]!;
    const flags =
      ((rHigh[page]! & HPTE_R_PP0_HIGH) >>> 23) |
      ((rHigh[page]! >>> 16) & 0x3000) |
      (low & (HPTE_R_KEY_LO | HPTE_R_N | HPTE_R_PP));
    const avpnLow = (vLow[page]! & ~0x7f) >>> 0;
    const status = this.#vm.hypercalls.protect((H_AVPN | flags) >>> 0, place[page]!, vHigh[page]!, avpnLow);
    if (status !== 0) {
      this.#pages.unsettle(page);
      return false;
    }
    rLow[page] = low;
    this.counts.protections++;
    return true;
  }

  load(page: number): boolean {
    if (page < 0 || this.#vm.access(this.#pages.place[page]!, LOAD) !== 'ok') return false;
    this.counts.loads++;
    this.#touch(page, LOAD);
    return true;
  }

  store(page: number): boolean {
    if (page < 0) return false;
    const { pinned, place, rLow } = this.#pages;
    const readOnly = (rLow[page]! & HPTE_R_PP) === READ_ONLY;
    if (readOnly && (page < pinned || !this.protect(page))) return false;
    if (this.#vm.access(place[page]!, STORE) !== 'ok') return false;
    this.counts.stores++;
    this.#touch(page, STORE);
    return true;
  }

  /** Loads from the memory behind a page, or stores to it: to a block of it where it is larger. */
  #touch(page: number, { store }: { readonly store: boolean }): void {
    const contents = this.#contents;
    if (contents === undefined) return;
    const { place, vLow, rHigh, rLow } = this.#pages;
    const pageBytes = 2 ** actualPageShift(vLow[page]!, rLow[page]!);
    const bytes = Math.min(pageBytes, RAM_BLOCK_BYTES);
    const offset = this.#random.below(pageBytes / bytes) * bytes;
    const address = addressOf(vLow[page]!, rHigh[page]!, rLow[page]!) + offset;
    // As the hardware does, it goes by the entry, whatever the guest has meant it to be.
    this.table.load(place[page]!, this.#hpte);
    const through = addressOf(this.#hpte[1]!, this.#hpte[2]!, this.#hpte[3]!) + offset;
    if (!contents.covers(address, bytes) || !contents.covers(through, bytes)) return;
    if (store) contents.store(address, through, bytes);
    else contents.load(address, through, bytes);
  }
}

/** Guest address of the page that an entry maps. */
function addressOf(vLow: number, rHigh: number, rLow: number): number {
  return frameOf(rHigh, rLow, actualPageShift(vLow, rLow)) * FRAME_BYTES;
}
