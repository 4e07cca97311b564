import type { PageShift } from '../../hpt/page-size.js';
import type { GuestRam } from './guest-ram.js';

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
  /** Bytes of guest memory, from address 0 on, that these pages lie in. Default: all of `memory`, or 1 GiB. */
  readonly memoryBytes?: number;
  /**
   * Contents of guest memory. Stores change them and loads check them, both through the table's translation; pages beyond
   * them are left alone.
   */
  readonly memory?: GuestRam;
  /** What `registers` of another workload gave: the guest goes on from there, and the options above but `memory` are its own. */
  readonly registers?: Uint8Array;
  /** Default: fault 30, evict 8, protect 12, load 25, store 25: two thirds of the pages stay in the table. */
  readonly mix?: Partial<WorkloadMix>;
}

/** What a guest does in its steps, in the order of its weights. */
export const ACTIONS = ['fault', 'evict', 'protect', 'load', 'store'] as const;
