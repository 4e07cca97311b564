import { checkBigint, checkInteger, checkObject, checkOneOf, outOfRangeError } from '../base/arguments.js';
import { encodeAvpn, type VirtualPage } from '../hpt/hash.js';
import type { SegmentSize } from '../hpt/hpte.js';
import type { PageShift } from '../hpt/page-size.js';
import { baseOf, type KernelPages, LAYOUTS, regionOf, type LinuxRegion } from './linux-regions.js';

/**
 * From a virtual page to the address and the process of a Linux guest, and back.
 *
 * Linux makes a VSID of a context number and a segment number (ESID) by a multiplication modulo 2^n - 1, which can be
 * undone. So it does since 4.12, whose virtual addresses have 68 bits.
 */

/** An address as a Linux guest knows it. */
export interface LinuxAddress {
  readonly region: LinuxRegion;
  /** Number of the MMU context: a part of the kernel, or a process. 0 in the VRMA, which has none. */
  readonly context: number;
  /** Of a process below 2^49: above, Linux gives it further contexts, and a table does not tell whose they are. */
  readonly effectiveAddress: bigint;
}

/** A page as a Linux guest knows it. */
export interface LinuxPage {
  readonly context: number;
  /** Any address in the page; only the lower 49 bits count. */
  readonly effectiveAddress: bigint;
  readonly segment: SegmentSize;
  /** log2 of the base page size. */
  readonly basePageShift: PageShift;
}

/** Contexts have numbers of 19 bits. */
export const MAX_CONTEXT = 2 ** 19 - 1;
/** The VSID of the mapping of guest real memory that KVM and QEMU make, in 1T segments. */
export const VRMA_VSID = 0x1ffffffn;

/** Address bits of a context: 512 TiB. */
const CONTEXT_BITS = 49n;
const OFFSET_MASK = (1n << CONTEXT_BITS) - 1n;
const MULTIPLIER = 12538073n;

const SEGMENTS = {
  '256M': { shift: 28n, modulus: (1n << 40n) - 1n, inverse: 665548017062n },
  '1T': { shift: 40n, modulus: (1n << 28n) - 1n, inverse: 209034062n },
} as const;

/**
 * The address that a Linux guest, 4.12 or later, knows a virtual page by.
 *
 * Nothing in a page tells who made it: ask {@link linuxGuest} first whether the table is that of a Linux guest. Addresses of
 * vmalloc, I/O and vmemmap are those of 5.2 and later.
 *
 * @param kernelPages page size the guest's kernel was built with, which decides on its layout
 * @returns undefined if no context has such a segment
 * @throws RangeError (`ERR_OUT_OF_RANGE`) if the page is not one, as `hashPage`
 *
 * @example
 * const page = virtualPageOf(ptex, v, r, table.order);
 * if (page !== undefined) console.log(linuxAddress(page)?.effectiveAddress);
 */
export function linuxAddress(page: VirtualPage, kernelPages: KernelPages = '64K'): LinuxAddress | undefined {
  encodeAvpn(page);
  checkOneOf('kernelPages', kernelPages, Object.keys(LAYOUTS));
  const { segment, vsid, offset } = page;
  if (segment === '1T' && vsid === VRMA_VSID) return { region: 'vrma', context: 0, effectiveAddress: offset };
  const { shift, modulus, inverse } = SEGMENTS[segment];
  if (vsid >= modulus) return undefined;
  const protoVsid = (vsid * inverse) % modulus;
  const esidBits = CONTEXT_BITS - shift;
  const context = Number(protoVsid >> esidBits);
  const region = regionOf(context, kernelPages);
  if (region === undefined) return undefined;
  const inContext = ((protoVsid & ((1n << esidBits) - 1n)) << shift) | offset;
  return { region, context, effectiveAddress: baseOf(context, kernelPages) | inContext };
}

/**
 * The virtual page of an address of a Linux guest; the inverse of {@link linuxAddress}.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) for a context or an address that does not exist
 *
 * @example
 * const hash = hashPage(linuxPage({ context: 1, effectiveAddress: 0xc000000000000000n, segment: '1T', basePageShift: 16 }));
 */
export function linuxPage(page: LinuxPage): VirtualPage {
  checkObject('page', page);
  const { context, effectiveAddress, segment, basePageShift } = page;
  checkInteger('context', context, 0, MAX_CONTEXT);
  checkBigint('effectiveAddress', effectiveAddress);
  checkOneOf('segment', segment, Object.keys(SEGMENTS));
  if (effectiveAddress < 0n || effectiveAddress >> 64n !== 0n) {
    throw outOfRangeError('effectiveAddress', 'in 0..2^64 - 1', effectiveAddress);
  }
  const { shift, modulus } = SEGMENTS[segment];
  const inContext = effectiveAddress & OFFSET_MASK;
  const pageMask = (1n << BigInt(basePageShift)) - 1n;
  const offset = inContext & ((1n << shift) - 1n) & ~pageMask;
  const protoVsid = (BigInt(context) << (CONTEXT_BITS - shift)) | (inContext >> shift);
  const vsid = context === 0 ? VRMA_VSID : (protoVsid * MULTIPLIER) % modulus;
  const virtual = { segment, vsid, offset, basePageShift };
  encodeAvpn(virtual);
  return virtual;
}
