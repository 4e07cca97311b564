import { RAM_BLOCK_BYTES, type GuestRam } from './guest-ram.js';

/** Smallest page: contents are remembered by such pages, so that pages of several sizes may map them. */
const PAGE_BYTES = 4096;
const WORDS_PER_PAGE = PAGE_BYTES / 4;
/** From one word of a page to the next: odd, so that no two words of a page are equal. */
const WORD_STEP = 0x9e3779b1 | 0;

/** The guest has loaded something else than it had stored: a page that was not moved, or a translation that leads elsewhere. */
export class GuestMemoryError extends Error {
  /** Guest address of the first wrong word. */
  readonly guestAddress: number;
  /** Number of its page of 4096 bytes. */
  readonly page: number;
  /** What the guest had stored there, and what it has loaded: 32 bits each. */
  readonly wanted: number;
  readonly found: number;

  /** @param store which of the guest's stores, from 1; 0 for a page that it has never stored to */
  constructor(guestAddress: number, wanted: number, found: number, store: number) {
    const page = Math.floor(guestAddress / PAGE_BYTES);
    const by = store === 0 ? 'was never stored to' : `holds what store ${store} has left`;
    super(
      `guest page ${page} is wrong at address 0x${guestAddress.toString(16)}: found 0x${found.toString(16)}, wanted ` +
        `0x${wanted.toString(16)}, as the page ${by}; either it was not moved after that, or its entry leads elsewhere`,
    );
    this.guestAddress = guestAddress;
    this.page = page;
    this.wanted = wanted;
    this.found = found;
  }

  static {
    Object.defineProperty(this.prototype, 'name', { value: 'GuestMemoryError' });
  }
}

/** What a guest knows of its memory: what it has stored to each page, and a checksum of all that it has loaded. */
export interface ContentsState {
  readonly seed: number;
  readonly stores: number;
  readonly checksum: number;
  /** Numbers of pages of 4096 bytes, and for each the last store to it. */
  readonly storedPages: Uint32Array;
  readonly storedBy: Uint32Array;
}

export const NOTHING_STORED: ContentsState = {
  seed: 0,
  stores: 0,
  checksum: 0,
  storedPages: new Uint32Array(),
  storedBy: new Uint32Array(),
};

/**
 * A guest's stores to memory, and its loads, each of which is checked. What a store leaves in a page follows from the
 * guest's seed, the page and the number of the store.
 */
export class GuestContents {
  readonly #ram: GuestRam;
  readonly #seed: number;
  readonly #storedBy = new Map<number, number>();
  #stores: number;
  #checksum: number;

  constructor(ram: GuestRam, { seed, stores, checksum, storedPages, storedBy }: ContentsState) {
    this.#ram = ram;
    this.#seed = seed;
    this.#stores = stores;
    this.#checksum = checksum;
    for (const [index, page] of storedPages.entries()) this.#storedBy.set(page, storedBy[index]!);
  }

  /** 32 bits over all that the guest has loaded so far, in order. */
  get checksum(): number {
    return this.#checksum >>> 0;
  }

  get state(): ContentsState {
    return {
      seed: this.#seed,
      stores: this.#stores,
      checksum: this.#checksum,
      storedPages: Uint32Array.from(this.#storedBy.keys()),
      storedBy: Uint32Array.from(this.#storedBy.values()),
    };
  }

  /** Whether memory stands behind all of a stretch: beyond it there are devices, or memory that this guest leaves alone. */
  covers(address: number, bytes: number): boolean {
    return address + bytes <= this.#ram.bytes;
  }

  /**
   * Stores to whole pages within one block of the memory.
   *
   * @param address where the guest means to store
   * @param through where its table leads
   */
  store(address: number, through: number, bytes: number): void {
    const words = this.#ram.words(through, bytes, true)!;
    this.#stores = (this.#stores + 1) >>> 0;
    for (let at = 0; at < words.length; at += WORDS_PER_PAGE) {
      const page = address / PAGE_BYTES + at / WORDS_PER_PAGE;
      this.#storedBy.set(page, this.#stores);
      let word = this.#firstWord(page, this.#stores);
      for (let index = at; index < at + WORDS_PER_PAGE; index++) {
        words[index] = word;
        word = (word + WORD_STEP) | 0;
      }
    }
  }

  /**
   * Loads whole pages within one block of the memory.
   *
   * @throws GuestMemoryError unless they hold what the guest has stored there
   */
  load(address: number, through: number, bytes: number): void {
    const words = this.#ram.words(through, bytes, false) ?? NEVER_WRITTEN.subarray(0, bytes / 4);
    for (let at = 0; at < words.length; at += WORDS_PER_PAGE) {
      const page = address / PAGE_BYTES + at / WORDS_PER_PAGE;
      const store = this.#storedBy.get(page) ?? 0;
      let word = store === 0 ? 0 : this.#firstWord(page, store);
      const step = store === 0 ? 0 : WORD_STEP;
      for (let index = at; index < at + WORDS_PER_PAGE; index++) {
        if (words[index] !== word >>> 0)
          throw new GuestMemoryError(address + index * 4, word >>> 0, words[index]!, store);
        word = (word + step) | 0;
      }
      this.#checksum = mix(this.#checksum ^ page, words[at]!);
    }
  }

  #firstWord(page: number, store: number): number {
    return mix(mix(this.#seed, page), store);
  }
}

const NEVER_WRITTEN = new Uint32Array(RAM_BLOCK_BYTES / 4);

/** 32 bits of both, as signed ones. */
function mix(a: number, b: number): number {
  let hash = Math.imul(a ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(b, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 13), 0x9e3779b1);
  return hash ^ (hash >>> 16);
}
