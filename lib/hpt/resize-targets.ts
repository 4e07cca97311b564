import { HtabStateError } from '../base/errors.js';
import { rehashPtex } from './hash.js';

/**
 * Where a resize will put the bolted entries of a table. Growing, or staying, the kernel takes for granted that no two
 * of them meet, and crashes if they do (kernel-abi.md 0, trap 12); they cannot if each stands in a PTEG that its address
 * hashes to.
 */
export class ResizeTargets {
  readonly #oldOrder: number;
  readonly #newOrder: number;
  readonly #sources = new Map<number, number>();

  constructor(oldOrder: number, newOrder: number) {
    this.#oldOrder = oldOrder;
    this.#newOrder = newOrder;
  }

  /**
   * Adds one bolted entry.
   *
   * @throws HtabStateError `would-crash` if one added before goes to the same place
   */
  add(ptex: number, vHigh: number, vLow: number, rLow: number): void {
    const target = rehashPtex(ptex, vHigh, vLow, rLow, this.#oldOrder, this.#newOrder);
    const other = this.#sources.get(target);
    if (other !== undefined) {
      throw new HtabStateError(
        'would-crash',
        `a resize from order ${this.#oldOrder} to ${this.#newOrder} would move the bolted entries at ptex ${other} ` +
          `and ${ptex} to one slot, ${target}, and crash the kernel; place bolted entries in the PTEG their address ` +
          'hashes to',
      );
    }
    this.#sources.set(target, ptex);
  }
}
