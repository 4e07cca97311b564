import type { VirtualPage } from '../../hpt/hash.js';
import { linuxAddress, type LinuxAddress } from '../../inspect/linux-address.js';
import type { KernelPages } from '../../inspect/linux-regions.js';

/** Segments remembered at most; a guest has some per process. */
const MAX_SEGMENTS = 65_536;

/** Addresses of pages in a Linux guest. The way from a VSID to its context is long, and segments have many pages. */
export class LinuxSegments {
  readonly #kernelPages: KernelPages;
  readonly #starts = { '256M': new Map<bigint, Start>(), '1T': new Map<bigint, Start>() };

  constructor(kernelPages: KernelPages) {
    this.#kernelPages = kernelPages;
  }

  /** As `linuxAddress`. */
  addressOf({ segment, vsid, offset }: VirtualPage): LinuxAddress | undefined {
    const starts = this.#starts[segment];
    let start = starts.get(vsid);
    if (start === undefined) {
      const address = linuxAddress({ segment, vsid, offset: 0n, basePageShift: 12 }, this.#kernelPages);
      start = { address };
      if (starts.size === MAX_SEGMENTS) starts.clear();
      starts.set(vsid, start);
    }
    const { address } = start;
    return address && { ...address, effectiveAddress: address.effectiveAddress | offset };
  }
}

/** Of a segment; without an address where no Linux guest has such a one. */
interface Start {
  readonly address: LinuxAddress | undefined;
}
