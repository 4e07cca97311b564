import { outOfRangeError } from '../../base/arguments.js';
import type { SeededRandom } from '../../base/random.js';
import { sleep } from '../../base/time.js';
import type { EmulatedVm } from './emulated-vm.js';
import { BULK, GuestActions, type WorkloadCounts } from './guest-actions.js';
import { GuestContents, NOTHING_STORED } from './guest-contents.js';
import type { GuestPages } from './guest-pages.js';
import { ACTIONS, type WorkloadOptions } from './workload-options.js';
import { firstStart, laterStart } from './workload-start.js';
import { encodeWorkload } from './workload-state.js';

/** Draws for a page of some kind before a step gives up. */
const DRAWS = 16;
const BULK_SHARE = 1 / 8;
const TICK_MS = 10;
/** A late tick makes up for this much time at most, so that a stalled process is not followed by a burst. */
const MAX_ARREARS_MS = 100;

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
  readonly #contents: GuestContents | undefined;
  readonly #weights: readonly number[];
  readonly #weightSum: number;
  readonly #actions: GuestActions;

  /**
   * @throws TypeError if the VM has no table
   * @throws RangeError for a mix without weight, and for registers that are none
   */
  constructor(vm: EmulatedVm, options: WorkloadOptions = {}) {
    const { table } = vm;
    if (table === undefined) throw new TypeError('a workload needs a VM that has a table');
    const { memory, registers } = options;
    const start = registers === undefined ? firstStart(table, options) : laterStart(table, registers);
    this.#vm = vm;
    this.#random = start.random;
    this.#pages = start.pages;
    this.#contents = memory && new GuestContents(memory, start.contents);
    this.#actions = new GuestActions(vm, table, { ...start, contents: this.#contents });
    this.#weights = start.weights;
    this.#weightSum = this.#weights.reduce((sum, weight) => sum + weight, 0);
    if (!(this.#weightSum > 0)) throw outOfRangeError('mix', 'of some weight', this.#weightSum);
  }

  get counts(): WorkloadCounts {
    return { ...this.#actions.counts };
  }

  /** 32 bits over all that the guest has loaded from its `memory` so far; 0 without one. */
  get checksum(): number {
    return this.#contents?.checksum ?? 0;
  }

  /**
   * All that the guest needs to go on elsewhere, beside its table and its memory: some 33 bytes for each of its pages, as it
   * keeps its own books here, and 8 for each 4096 bytes that it has stored to.
   */
  registers(): Uint8Array {
    const { storedPages, storedBy, ...contents } = this.#contents?.state ?? NOTHING_STORED;
    return encodeWorkload({
      numbers: {
        random: this.#random.state,
        weights: this.#weights,
        counts: this.#actions.counts,
        pinned: this.#pages.pinned,
        ...contents,
      },
      arrays: { ...this.#pages.arrays, storedPages, storedBy },
    });
  }

  /** Takes `count` steps at once. A VM without a table makes no steps of any effect. */
  step(count = 1): void {
    for (let done = 0; done < count; done++) {
      this.#actions.counts.steps++;
      if (!this.#followTable() || !this.#act()) this.#actions.counts.idle++;
    }
  }

  /**
   * Takes steps at a steady rate until the signal is aborted. Meanwhile the VM has one more vcpu in KVM_RUN, so that
   * writing to the table and allocating another are EBUSY, as for a living guest.
   *
   * @param pace `stepsPerSecond` is read at every tick: a getter may slow the guest down
   * @returns number of steps taken
   */
  async run(pace: { readonly stepsPerSecond: number; readonly signal: AbortSignal }): Promise<number> {
    const { signal } = pace;
    const before = this.#actions.counts.steps;
    this.#vm.runningVcpus++;
    try {
      let owed = 0;
      let last = performance.now();
      while (!signal.aborted) {
        const now = performance.now();
        owed += (Math.min(now - last, MAX_ARREARS_MS) * pace.stepsPerSecond) / 1000;
        last = now;
        this.step(Math.floor(owed));
        owed -= Math.floor(owed);
        await sleep(TICK_MS, signal).catch(() => undefined);
      }
    } finally {
      this.#vm.runningVcpus--;
    }
    return this.#actions.counts.steps - before;
  }

  /** Goes on with the table the VM has by now; false if it has none. */
  #followTable(): boolean {
    const { table } = this.#vm;
    if (table === undefined) return false;
    const { table: before } = this.#actions;
    if (table !== before) this.#pages.follow(before, table);
    this.#actions.table = table;
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
          : this.#actions.evict(this.#mapped(this.#pages.pinned));
      case 'protect':
        return this.#actions.protect(this.#mapped(this.#pages.pinned));
      case 'load':
        return this.#actions.load(this.#mapped(0));
      case 'store':
        return this.#actions.store(this.#mapped(0));
    }
  }

  /** Draws a page that is in the table, among those from `first` on; -1 if none was found. */
  #mapped(first: number): number {
    const { count } = this.#pages;
    for (let draw = 0; draw < DRAWS && first < count; draw++) {
      const page = first + this.#random.below(count - first);
      if (this.#actions.isMapped(page)) return page;
    }
    return -1;
  }

  #fault(): boolean {
    const { pinned, count } = this.#pages;
    if (pinned === count) return false;
    const page = pinned + this.#random.below(count - pinned);
    if (!this.#actions.isMapped(page) && !this.#actions.enter(page)) return false;
    return this.#actions.load(page);
  }

  #evictFour(): boolean {
    const victims: number[] = [];
    for (let index = 0; index < BULK; index++) {
      const page = this.#mapped(this.#pages.pinned);
      if (page >= 0 && !victims.includes(page)) victims.push(page);
    }
    return this.#actions.evictAtOnce(victims);
  }
}
