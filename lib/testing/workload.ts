import { outOfRange } from '../arguments.js';
import { HPTES_PER_GROUP } from '../hpt/geometry.js';
import { primaryGroup, secondaryGroup } from '../hpt/hash.js';
import {
  HPTE_R_KEY_LO,
  HPTE_R_N,
  HPTE_R_PP,
  HPTE_R_PP0_HIGH,
  HPTE_V_SECONDARY,
  type PageShift,
} from '../hpt/hpte.js';
import { joinHalves, type HptTable } from '../hpt/table.js';
import type { EmulatedVm } from '../vm/emulated/emulated-vm.js';
import { H_AVPN, H_BULK_REMOVE } from '../vm/emulated/hcalls.js';
import { pause } from '../node/waiting.js';
import { GuestPages } from './guest-pages.js';
import { SeededRandom } from './random.js';

/** What the guest does, as weights of its steps; only their proportions count. */
export interface WorkloadMix {
  /** References a page, entering it into the table where it is not. */
  readonly fault: number;
  /** Removes a page, one time in eight four at once. */
  readonly evict: number;
  /** Turns a page from read-write to read-only, or back. */
  readonly protect: number;
  /** Loads from a page that is in the table. */
  readonly load: number;
  /** Stores to a page that is in the table; a read-only one is made writable first. */
  readonly store: number;
}

export interface WorkloadOptions {
  /** The same seed over the same table gives the same guest. Default 1. */
  readonly seed?: number;
  /** Pages the guest has beyond those in its table. Default: one for every 16 entries, 32,768 at the most. */
  readonly pages?: number;
  /** log2 of the size of these pages. Default 16. */
  readonly pageShift?: PageShift;
  /** Bytes of guest memory, from address 0 on, that these pages lie in. Default 1 GiB. */
  readonly memoryBytes?: number;
  /** Default: fault 30, evict 8, protect 12, load 25, store 25: two thirds of the pages stay in the table. */
  readonly mix?: Partial<WorkloadMix>;
}

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

const DEFAULT_MIX: WorkloadMix = { fault: 30, evict: 8, protect: 12, load: 25, store: 25 };
const ACTIONS = ['fault', 'evict', 'protect', 'load', 'store'] as const;
const MAX_DEFAULT_PAGES = 32_768;
const READ_WRITE = 2;
const READ_ONLY = 3;
/** Draws for a page of some kind before a step gives up. */
const DRAWS = 16;
const BULK = 4;
const BULK_SHARE = 1 / 8;
const BULK_REQUEST_AVPN = 0x42n << 56n;
const BULK_END = 0xc0n << 56n;
const TICK_MS = 10;
/** A late tick makes up for this much time at most, so that a stalled process is not followed by a burst. */
const MAX_ARREARS_MS = 100;
const LOAD = { store: false };
const STORE = { store: true };

/**
 * A guest at work on the table of an emulated VM, from whatever the table holds: pages are faulted in by their hash, to
 * the primary group, then to the secondary one, and where both are full over a victim; they are evicted, protected,
 * loaded from and stored to. Bolted entries stay where they are, as a Linux guest's do.
 *
 * All of it is decided by the seed and by the number of steps, however these are divided into calls.
 *
 * @example
 * const workload = new GuestWorkload(vm, { seed: 7 });
 * workload.step(1000);
 * const running = workload.run({ stepsPerSecond: 20_000, signal });
 */
export class GuestWorkload {
  readonly #vm: EmulatedVm;
  readonly #random: SeededRandom;
  readonly #pages: GuestPages;
  readonly #weights: readonly number[];
  readonly #weightSum: number;
  readonly #counts: { -readonly [Name in keyof WorkloadCounts]: number } = {
    steps: 0,
    faults: 0,
    secondaryFaults: 0,
    evictions: 0,
    protections: 0,
    loads: 0,
    stores: 0,
    idle: 0,
  };
  #table: HptTable;

  /**
   * @throws TypeError if the VM has no table
   * @throws RangeError for a mix without weight
   */
  constructor(vm: EmulatedVm, options: WorkloadOptions = {}) {
    const { table } = vm;
    if (table === undefined) throw new TypeError('a workload needs a VM that has a table');
    const { seed = 1, pageShift = 16, memoryBytes = 2 ** 30 } = options;
    const { pages = Math.min(table.entryCount / 16, MAX_DEFAULT_PAGES) } = options;
    const mix = { ...DEFAULT_MIX, ...options.mix };
    this.#vm = vm;
    this.#table = table;
    this.#random = new SeededRandom(seed);
    this.#pages = new GuestPages(table, { count: pages, pageShift, memoryBytes }, this.#random);
    this.#weights = ACTIONS.map((action) => mix[action]);
    this.#weightSum = this.#weights.reduce((sum, weight) => sum + weight, 0);
    if (!(this.#weightSum > 0)) throw outOfRange('mix', 'of some weight', this.#weightSum);
  }

  get counts(): WorkloadCounts {
    return { ...this.#counts };
  }

  /** Takes `count` steps at once. A VM without a table makes no steps of any effect. */
  step(count = 1): void {
    for (let done = 0; done < count; done++) {
      this.#counts.steps++;
      if (!this.#followTable() || !this.#act()) this.#counts.idle++;
    }
  }

  /**
   * Takes steps at a steady rate until the signal is aborted. Meanwhile the VM has one more vcpu in KVM_RUN, so that
   * writing to the table and allocating another are EBUSY, as for a living guest.
   *
   * @returns number of steps taken
   */
  async run({
    stepsPerSecond,
    signal,
  }: {
    readonly stepsPerSecond: number;
    readonly signal: AbortSignal;
  }): Promise<number> {
    const before = this.#counts.steps;
    this.#vm.runningVcpus++;
    try {
      let owed = 0;
      let last = performance.now();
      while (!signal.aborted) {
        const now = performance.now();
        owed += (Math.min(now - last, MAX_ARREARS_MS) * stepsPerSecond) / 1000;
        last = now;
        this.step(Math.floor(owed));
        owed -= Math.floor(owed);
        await pause(TICK_MS, signal).catch(() => undefined);
      }
    } finally {
      this.#vm.runningVcpus--;
    }
    return this.#counts.steps - before;
  }

  /** Goes on with the table the VM has by now; false if it has none. */
  #followTable(): boolean {
    const { table } = this.#vm;
    if (table === undefined) return false;
    if (table !== this.#table) this.#pages.follow(this.#table, table);
    this.#table = table;
    return true;
  }

  /** Does one thing; false if there was nothing to do it to. */
  #act(): boolean {
    let rest = (this.#random.uint32() / 2 ** 32) * this.#weightSum;
    let action = 0;
    while (action < ACTIONS.length - 1 && rest >= this.#weights[action]!) rest -= this.#weights[action++]!;
    switch (ACTIONS[action]!) {
      case 'fault':
        return this.#fault();
      case 'evict':
        return this.#random.chance(BULK_SHARE)
          ? this.#evictFour()
          : this.#evict(this.#mapped(this.#pages.pinned));
      case 'protect':
        return this.#protect(this.#mapped(this.#pages.pinned));
      case 'load':
        return this.#load(this.#mapped(0));
      case 'store':
        return this.#store(this.#mapped(0));
    }
  }

  /** Draws a page that is in the table, among those from `first` on; -1 if none was found. */
  #mapped(first: number): number {
    const { count } = this.#pages;
    for (let draw = 0; draw < DRAWS && first < count; draw++) {
      const page = first + this.#random.below(count - first);
      if (this.#isMapped(page)) return page;
    }
    return -1;
  }

  /** Whether the page is in the table; somebody else may have emptied it. */
  #isMapped(page: number): boolean {
    const ptex = this.#pages.place[page]!;
    if (ptex >= 0 && !this.#table.has(ptex)) this.#pages.unsettle(page);
    return this.#pages.place[page]! >= 0;
  }

  #fault(): boolean {
    const { pinned, count } = this.#pages;
    if (pinned === count) return false;
    const page = pinned + this.#random.below(count - pinned);
    if (!this.#isMapped(page) && !this.#enter(page)) return false;
    return this.#load(page);
  }

  /** Enters a page where its hash leads; false if bolted entries fill both of its groups. */
  #enter(page: number): boolean {
    const hash = this.#pages.hash[page]!;
    const { order } = this.#table;
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
    this.#counts.faults++;
    if (secondary) this.#counts.secondaryFaults++;
    return true;
  }

  /** Evicts one page from the group, looking from a random slot on, as Linux does. */
  #makeRoom(group: number): boolean {
    const start = this.#random.below(HPTES_PER_GROUP);
    for (let look = 0; look < HPTES_PER_GROUP; look++) {
      const ptex = group * HPTES_PER_GROUP + ((start + look) % HPTES_PER_GROUP);
      const victim = this.#pages.at(ptex);
      if (victim !== undefined && victim >= this.#pages.pinned && this.#evict(victim)) return true;
    }
    return false;
  }

  #evict(page: number): boolean {
    if (page < 0) return false;
    const { place, vHigh, vLow } = this.#pages;
    const avpnLow = (vLow[page]! & ~0x7f) >>> 0;
    const status = this.#vm.hypercalls.remove(H_AVPN, place[page]!, vHigh[page]!, avpnLow);
    this.#pages.unsettle(page);
    if (status !== 0) return false;
    this.#counts.evictions++;
    return true;
  }

  #evictFour(): boolean {
    const { pinned, place, vHigh, vLow } = this.#pages;
    const victims: number[] = [];
    const args: bigint[] = [];
    for (let index = 0; index < BULK; index++) {
      const page = this.#mapped(pinned);
      if (page < 0 || victims.includes(page)) continue;
      victims.push(page);
      args.push(BULK_REQUEST_AVPN | BigInt(place[page]!), joinHalves(vHigh[page]!, vLow[page]! & ~0x7f));
    }
    if (victims.length < BULK) args.push(BULK_END, 0n);
    const [, ...answers] = this.#vm.hcall(H_BULK_REMOVE, args);
    for (const [index, page] of victims.entries()) {
      this.#pages.unsettle(page);
      if (answers[index * 2]! >> 60n === 8n) this.#counts.evictions++;
    }
    return victims.length > 0;
  }

  #protect(page: number): boolean {
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
    this.#counts.protections++;
    return true;
  }

  #load(page: number): boolean {
    if (page < 0 || this.#vm.access(this.#pages.place[page]!, LOAD) !== 'ok') return false;
    this.#counts.loads++;
    return true;
  }

  #store(page: number): boolean {
    if (page < 0) return false;
    const { pinned, place, rLow } = this.#pages;
    const readOnly = (rLow[page]! & HPTE_R_PP) === READ_ONLY;
    if (readOnly && (page < pinned || !this.#protect(page))) return false;
    if (this.#vm.access(place[page]!, STORE) !== 'ok') return false;
    this.#counts.stores++;
    return true;
  }
}
