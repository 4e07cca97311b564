import { encodeAvpn, hashAddress, rehashPtex, virtualPageOf } from '../hpt/hash.js';
import { encodeHpte, HPTE_V_BOLTED, HPTE_V_PRIVATE, HPTE_V_SECONDARY, type PageShift } from '../hpt/hpte.js';
import { highHalf, joinHalves, lowHalf, type HptTable } from '../hpt/table.js';
import type { SeededRandom } from './random.js';

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

  /** @param table the guest's table: each of its valid entries becomes a page */
  constructor(table: HptTable, fresh: NewPages, random: SeededRandom) {
    const held = entriesOf(table);
    this.pinned = held.filter(({ pinned }) => pinned).length;
    this.count = held.length + fresh.count;
    this.vHigh = new Uint32Array(this.count);
    this.vLow = new Uint32Array(this.count);
    this.rHigh = new Uint32Array(this.count);
    this.rLow = new Uint32Array(this.count);
    this.hash = new Float64Array(this.count);
    this.place = new Float64Array(this.count).fill(-1);
    this.#secondary = new Uint8Array(this.count);
    held.sort((a, b) => Number(b.pinned) - Number(a.pinned) || a.ptex - b.ptex);
    for (const [page, { ptex, v, r, hash }] of held.entries()) {
      this.#set(page, v, r, hash);
      this.settle(page, ptex, (lowHalf(v) & HPTE_V_SECONDARY) !== 0);
    }
    this.#addFresh(held.length, fresh, new Set(held.map(({ vsid }) => vsid)), random);
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
