import { outOfRangeError } from '../../base/arguments.js';
import { encodeAvpn, hashAddress, rehashPtex, virtualPageOf } from '../../hpt/hash.js';
import { encodeHpte } from '../../hpt/hpte.js';
import { HPTE_V_BOLTED, HPTE_V_PRIVATE, HPTE_V_SECONDARY } from '../../hpt/hpte-bits.js';
import type { PageShift } from '../../hpt/page-size.js';
import { highHalf, joinHalves, lowHalf } from '../../hpt/halves.js';
import type { HptTable } from '../../hpt/table.js';
import type { SeededRandom } from '../../base/random.js';

const SEGMENT_BYTES = 2 ** 28;
/** Pages the guest uses next to each other in one segment. */
const PAGES_PER_SEGMENT = 512;
/** VSIDs that a POWER9 entry holds whole. */
const VSID_LIMIT = 2 ** 32;

/** Pages a guest is to have beyond those its table already maps. */
export interface NewPages {
  readonly count: number;
  readonly pageShift: PageShift;
  /** Bytes of guest memory from address 0 on that the pages lie in; shared if there are more pages. */
  readonly memoryBytes: number;
}

/**
 * The pages of a guest, by number: how their entries read, and where these stand. The first `pinned` pages are never
 * evicted: bolted ones, and entries that stand where their address does not hash to.
 */
export class GuestPages {
  readonly count: number;
  readonly pinned: number;
  readonly vHigh: Uint32Array;
  /** Without H, and without the kernel's own bits. */
  readonly vLow: Uint32Array;
  readonly rHigh: Uint32Array;
  readonly rLow: Uint32Array;
  /** The page's hash, 39 bits. */
  readonly hash: Float64Array;
  /** ptex of the page's entry, or -1. */
  readonly place: Float64Array;
  /** H of the page's entry. */
  readonly #secondary: Uint8Array;
  readonly #pageAt = new Map<number, number>();

  private constructor(pinned: number, arrays: PageArrays) {
    this.pinned = pinned;
    this.count = arrays.vHigh.length;
    ({ vHigh: this.vHigh, vLow: this.vLow, rHigh: this.rHigh, rLow: this.rLow } = arrays);
    ({ hash: this.hash, place: this.place, secondary: this.#secondary } = arrays);
    for (const [page, ptex] of this.place.entries()) if (ptex >= 0) this.#pageAt.set(ptex, page);
  }

  /** @param table the guest's table: each of its valid entries becomes a page */
  static of(table: HptTable, fresh: NewPages, random: SeededRandom): GuestPages {
    const held = entriesOf(table);
    const pinned = held.filter((entry) => entry.pinned).length;
    const pages = new GuestPages(pinned, emptyArrays(held.length + fresh.count));
    held.sort((a, b) => Number(b.pinned) - Number(a.pinned) || a.ptex - b.ptex);
    for (const [page, { ptex, v, r, hash }] of held.entries()) {
      pages.#set(page, v, r, hash);
      pages.settle(page, ptex, (lowHalf(v) & HPTE_V_SECONDARY) !== 0);
    }
    pages.#addFresh(held.length, fresh, new Set(held.map(({ vsid }) => vsid)), random);
    return pages;
  }

  /**
   * The pages of a guest that goes on.
   *
   * @throws RangeError for arrays that no guest with this table has
   */
  static from(pinned: number, arrays: PageArrays, table: HptTable): GuestPages {
    const { length } = arrays.vHigh;
    const isPlace = (ptex: number): boolean =>
      ptex === -1 || (Number.isInteger(ptex) && ptex >= 0 && ptex < table.entryCount);
    const fit =
      Object.values(arrays).every((array) => array.length === length) && arrays.place.every(isPlace);
    if (!fit || pinned > length)
      throw outOfRangeError('registers', `those of a guest with ${table.entryCount} entries`, length);
    return new GuestPages(pinned, arrays);
  }

  get arrays(): PageArrays {
    const { vHigh, vLow, rHigh, rLow, hash, place } = this;
    return { vHigh, vLow, rHigh, rLow, hash, place, secondary: this.#secondary };
  }

  /** Number of the page whose entry stands at `ptex`, if it is one. */
  at(ptex: number): number | undefined {
    return this.#pageAt.get(ptex);
  }

  /** Notes that the page's entry stands at `ptex`, with or without H. */
  settle(page: number, ptex: number, secondary: boolean): void {
    this.place[page] = ptex;
    this.#secondary[page] = secondary ? 1 : 0;
    this.#pageAt.set(ptex, page);
  }

  /** Notes that the page has no entry. */
  unsettle(page: number): void {
    this.#pageAt.delete(this.place[page]!);
    this.place[page] = -1;
  }

  /** Follows the guest to a table of another order: bolted entries have moved, all others are gone. */
  follow(from: HptTable, to: HptTable): void {
    const hpte = new Uint32Array(4);
    const mapped = Array.from(this.#pageAt, ([ptex, page]) => ({ ptex, page }));
    for (const { page } of mapped) this.unsettle(page);
    for (const { page, ptex } of mapped) {
      if (page >= this.pinned) continue;
      const secondary = this.#secondary[page] === 1;
      const vHigh = this.vHigh[page]!;
      const vLow = this.vLow[page]! | (secondary ? HPTE_V_SECONDARY : 0);
      const target = rehashPtex(ptex, vHigh, vLow, this.rLow[page]!, from.order, to.order);
      const moved = to.load(target, hpte) && hpte[0] === vHigh && (hpte[1]! & ~HPTE_V_PRIVATE) >>> 0 === vLow;
      if (moved) this.settle(page, target, secondary);
    }
  }

  #set(page: number, v: bigint, r: bigint, hash: number): void {
    this.vHigh[page] = highHalf(v);
    this.vLow[page] = lowHalf(v) & ~(HPTE_V_SECONDARY | HPTE_V_PRIVATE);
    this.rHigh[page] = highHalf(r);
    this.rLow[page] = lowHalf(r);
    this.hash[page] = hash;
  }

  /** Pages of segments that no entry of the table belongs to. */
  #addFresh(first: number, fresh: NewPages, taken: Set<bigint>, random: SeededRandom): void {
    const { pageShift, memoryBytes } = fresh;
    const pageBytes = 2 ** pageShift;
    const perSegment = Math.min(PAGES_PER_SEGMENT, SEGMENT_BYTES / pageBytes);
    const frames = Math.max(1, Math.floor(memoryBytes / pageBytes));
    let vsid = 0n;
    for (let index = 0; index < fresh.count; index++) {
      if (index % perSegment === 0) {
        do vsid = BigInt(random.below(VSID_LIMIT));
        while (taken.has(vsid));
        taken.add(vsid);
      }
      const offset = (index % perSegment) * pageBytes;
      const { v, r } = encodeHpte({
        valid: true,
        basePageShift: pageShift,
        guestAddress: BigInt(random.below(frames) * pageBytes),
        pp: 2,
        wimg: 2,
        referenced: true,
      });
      const avpn = encodeAvpn({ segment: '256M', vsid, offset: BigInt(offset), basePageShift: pageShift });
      this.#set(first + index, v | avpn, r, hashAddress('256M', Number(vsid), offset, pageShift));
    }
  }
}

/** What is known of each page, by its number. */
export type PageArrays = Pick<GuestPages, 'vHigh' | 'vLow' | 'rHigh' | 'rLow' | 'hash' | 'place'> & {
  readonly secondary: Uint8Array;
};

function emptyArrays(count: number): PageArrays {
  return {
    vHigh: new Uint32Array(count),
    vLow: new Uint32Array(count),
    rHigh: new Uint32Array(count),
    rLow: new Uint32Array(count),
    hash: new Float64Array(count),
    place: new Float64Array(count).fill(-1),
    secondary: new Uint8Array(count),
  };
}

interface HeldEntry {
  readonly ptex: number;
  readonly v: bigint;
  readonly r: bigint;
  readonly hash: number;
  readonly vsid: bigint;
  readonly pinned: boolean;
}

function entriesOf(table: HptTable): HeldEntry[] {
  const entries: HeldEntry[] = [];
  const hpte = new Uint32Array(4);
  const { valid, entryCount, order } = table;
  for (let ptex = valid.next(0); ptex < entryCount; ptex = valid.next(ptex + 1)) {
    table.load(ptex, hpte);
    const v = joinHalves(hpte[0]!, hpte[1]!);
    const r = joinHalves(hpte[2]!, hpte[3]!);
    const page = virtualPageOf(ptex, v, r, order);
    entries.push({
      ptex,
      v,
      r,
      hash: page ? hashAddress(page.segment, Number(page.vsid), Number(page.offset), page.basePageShift) : 0,
      vsid: page?.vsid ?? -1n,
      pinned: page === undefined || (hpte[1]! & HPTE_V_BOLTED) !== 0,
    });
  }
  return entries;
}
