// Tables as guests leave them, the same for the library and for the baseline.
import { addon } from './baseline.mjs';
import { HptTable, fillRecords } from './library.mjs';

/** Bytes of the buffer that all passes are read into. */
const BUFFER_BYTES = 1 << 20;
const GROUP = 8;

/** @returns {() => number} a repeatable sequence of 32-bit numbers (xorshift) */
export function numbers(seed = 0x9e3779b9) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** @returns {() => number} numbers from 0 up to but without 1 */
export function fractions(seed = 0x9e3779b9) {
  const next = numbers(seed);
  return () => next() / 2 ** 32;
}

/**
 * Which entries are valid, ascending.
 *
 * @typedef {(entryCount: number) => Generator<number>} Pattern
 */

/** Each entry with the same probability. @param {number} share @returns {Pattern} */
export function scattered(share) {
  return function* (entryCount) {
    const next = fractions();
    for (let ptex = 0; ptex < entryCount; ptex++) if (next() < share) yield ptex;
  };
}

/** As a guest fills its groups: the first slots of each, a Poisson number of them. @param {number} share @returns {Pattern} */
export function grouped(share) {
  return function* (entryCount) {
    const next = fractions();
    const limit = Math.exp(-share * GROUP);
    for (let group = 0; group < entryCount; group += GROUP) {
      let product = next();
      for (let slot = 0; slot < GROUP && product > limit; slot++, product *= next()) yield group + slot;
    }
  };
}

/** The first slots of up to 512 groups in a row, then none for a while. @param {number} share @returns {Pattern} */
export function clustered(share) {
  return function* (entryCount) {
    const next = fractions();
    let group = 0;
    for (;;) {
      const length = 1 + Math.floor(next() * 512);
      group += Math.floor(next() * 2 * length * (1 / (share * GROUP) - 1));
      for (const end = group + length; group < end; group++) {
        if (group * GROUP >= entryCount) return;
        yield group * GROUP;
      }
    }
  };
}

/** Every entry. @type {Pattern} */
export function* full(entryCount) {
  for (let ptex = 0; ptex < entryCount; ptex++) yield ptex;
}

/** @param {Uint32Array} list @param {() => number} next */
function shuffle(list, next) {
  for (let index = list.length - 1; index > 0; index--) {
    const other = Math.floor(next() * (index + 1));
    const held = list[index] ?? 0;
    list[index] = list[other] ?? 0;
    list[other] = held;
  }
}

/**
 * An HPTE as Linux makes them: pages of 64K, few of 16M, somewhere in a 1T segment.
 *
 * @param {() => number} next
 * @param {Uint32Array} hpte receives vHigh, vLow, rHigh, rLow
 */
export function makeHpte(next, hpte) {
  const large = next() < 2 ** 32 / 16;
  hpte[0] = 0x40000000 | (next() & 0xfffff);
  hpte[1] = (next() & 0xffffff80) | 0x45;
  hpte[2] = next() & 0xff;
  hpte[3] = large ? (next() & 0xff000000) | 0x190 : (next() & 0xffff0000) | 0x1190;
}

/** One table, kept twice. */
export class Twin {
  table;
  /** HPTE words of the baseline's table, and of the marks beside it: bit 0 of every entry's first word. */
  flatEntries;
  flatSides;
  flat;
  entryCount;
  #buffer = new Uint8Array(BUFFER_BYTES);
  #flatState = new Float64Array(2);

  /** @param {number} order */
  constructor(order) {
    this.table = new HptTable(order);
    this.entryCount = this.table.entryCount;
    this.flatEntries = new Uint32Array(this.entryCount * 4);
    this.flatSides = new Uint32Array(this.entryCount * 4);
    this.flat = new addon.FlatTable(this.flatEntries, this.flatSides);
  }

  /**
   * Fills both in an order as random as a hash makes it.
   *
   * @param {Pattern} pattern
   */
  fill(pattern) {
    const list = Uint32Array.from(pattern(this.entryCount));
    if (process.env['SORTED'] === undefined) shuffle(list, fractions(7));
    const next = numbers(11);
    const hpte = new Uint32Array(4);
    const bytes = new DataView(this.flatEntries.buffer);
    for (const ptex of list) {
      makeHpte(next, hpte);
      const [vHigh = 0, vLow = 0, rHigh = 0, rLow = 0] = hpte;
      this.table.store(ptex, vHigh, vLow, rHigh, rLow);
      for (let word = 0; word < 4; word++) bytes.setUint32(ptex * 16 + word * 4, hpte[word] ?? 0);
    }
    return this;
  }

  /** Marks entries dirty in the library's table. @param {Uint32Array} list */
  markOurs(list) {
    const { dirty } = this.table;
    for (let at = 0; at < list.length; at++) dirty.add(list[at] ?? 0);
  }

  /** Marks entries dirty in the baseline's. @param {Uint32Array} list */
  markFlat(list) {
    for (let at = 0; at < list.length; at++) this.flatSides[(list[at] ?? 0) * 4] = 1;
  }

  /**
   * A whole pass of the library's table into one buffer, over and over.
   *
   * @param {boolean} firstPass
   * @param {(bytes: Uint8Array) => void} [take] sees each read
   */
  readOurs(firstPass, take) {
    const state = { cursor: 0, firstPass, boltedOnly: false };
    do {
      const bytes = fillRecords(this.table, state, this.#buffer);
      take?.(this.#buffer.subarray(0, bytes));
    } while (state.cursor !== 0);
  }

  /** The same of the baseline's. @type {Twin['readOurs']} */
  readFlat(firstPass, take) {
    const state = this.#flatState;
    state[0] = 0;
    state[1] = firstPass ? 1 : 0;
    do {
      const bytes = this.flat.read(state, this.#buffer);
      take?.(this.#buffer.subarray(0, bytes));
    } while (state[0] !== 0);
  }

  /**
   * The stream of a pass, as the library reads it.
   *
   * @param {boolean} firstPass
   * @throws Error if the baseline reads other bytes
   */
  readBoth(firstPass) {
    /** @type {Buffer[]} */
    const ours = [];
    /** @type {Buffer[]} */
    const theirs = [];
    this.readOurs(firstPass, (bytes) => ours.push(Buffer.from(bytes)));
    this.readFlat(firstPass, (bytes) => theirs.push(Buffer.from(bytes)));
    if (
      ours.length !== theirs.length ||
      ours.some((bytes, read) => !bytes.equals(theirs[read] ?? bytes.subarray(1)))
    ) {
      throw new Error('the library and the baseline read different bytes');
    }
    return ours;
  }
}
