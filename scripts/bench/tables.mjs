// Tables filled as a guest fills them, for the library alone or the same for the baseline too.
import { addon } from './baseline.mjs';
import { HptTable, fillRecords } from './library.mjs';
import { makeHpte, numbers, shuffled } from './patterns.mjs';

/** Bytes of the buffer that all passes are read into. */
const BUFFER_BYTES = 1 << 20;
const buffer = new Uint8Array(BUFFER_BYTES);

/** @typedef {import('../../lib/index.js').HptTable} Table */
/** @typedef {import('./patterns.mjs').Pattern} Pattern */

/**
 * A table of the library's, filled in an order as random as a guest's.
 *
 * @param {number} order
 * @param {Pattern} pattern
 * @param {(ptex: number, hpte: Uint32Array) => void} [also] sees each entry: vHigh, vLow, rHigh, rLow
 */
export function tableOf(order, pattern, also) {
  return tableWith(order, shuffled(pattern, 2 ** (order - 4)), also);
}

/**
 * A table of the library's with these entries, filled in this order.
 *
 * @param {number} order
 * @param {Iterable<number>} ptexes
 * @param {(ptex: number, hpte: Uint32Array) => void} [also]
 */
export function tableWith(order, ptexes, also) {
  const table = new HptTable(order);
  const next = numbers(11);
  const hpte = new Uint32Array(4);
  for (const ptex of ptexes) {
    makeHpte(next, hpte);
    const [vHigh = 0, vLow = 0, rHigh = 0, rLow = 0] = hpte;
    table.store(ptex, vHigh, vLow, rHigh, rLow);
    also?.(ptex, hpte);
  }
  return table;
}

/**
 * A whole pass of a table of the library's into one buffer, over and over.
 *
 * @param {Table} table
 * @param {boolean} firstPass
 * @param {(bytes: Uint8Array) => void} [take] sees each read
 */
export function readTable(table, firstPass, take) {
  const state = { cursor: 0, firstPass, boltedOnly: false };
  do {
    const bytes = fillRecords(table, state, buffer);
    take?.(buffer.subarray(0, bytes));
  } while (state.cursor !== 0);
}

/** One table, kept twice: as the library does it, and entry by entry. */
export class Twin {
  table;
  entryCount;
  flat;
  /** HPTE words of the baseline's table, and of its marks: bit 0 of every entry's first word. */
  flatEntries;
  #flatMarks;
  #flatState = new Float64Array(2);

  /**
   * @param {number} order
   * @param {Pattern} pattern
   */
  constructor(order, pattern) {
    this.entryCount = 2 ** (order - 4);
    this.flatEntries = new Uint32Array(this.entryCount * 4);
    this.#flatMarks = new Uint32Array(this.entryCount * 4);
    this.flat = new addon.FlatTable(this.flatEntries, this.#flatMarks);
    const bytes = new DataView(this.flatEntries.buffer);
    this.table = tableOf(order, pattern, (ptex, hpte) => {
      for (let word = 0; word < 4; word++) bytes.setUint32(ptex * 16 + word * 4, hpte[word] ?? 0);
    });
  }

  /** Marks entries dirty in the library's table. @param {Uint32Array} list */
  markOurs(list) {
    const { dirty } = this.table;
    for (let at = 0; at < list.length; at++) dirty.add(list[at] ?? 0);
  }

  /** Marks entries dirty in the baseline's. @param {Uint32Array} list */
  markFlat(list) {
    const marks = this.#flatMarks;
    for (let at = 0; at < list.length; at++) marks[(list[at] ?? 0) * 4] = 1;
  }

  /**
   * A whole pass of the library's table.
   *
   * @param {boolean} firstPass
   * @param {(bytes: Uint8Array) => void} [take] sees each read
   */
  readOurs(firstPass, take) {
    readTable(this.table, firstPass, take);
  }

  /** The same of the baseline's. @type {Twin['readOurs']} */
  readFlat(firstPass, take) {
    const state = this.#flatState;
    state[0] = 0;
    state[1] = firstPass ? 1 : 0;
    do {
      const bytes = this.flat.read(state, buffer);
      take?.(buffer.subarray(0, bytes));
    } while (state[0] !== 0);
  }

  /**
   * The stream of a pass, read by read.
   *
   * @param {boolean} firstPass
   * @throws Error unless the library and the baseline read the same bytes
   */
  readBoth(firstPass) {
    /** @type {Buffer[]} */
    const ours = [];
    let same = 0;
    let reads = 0;
    this.readOurs(firstPass, (bytes) => ours.push(Buffer.from(bytes)));
    this.readFlat(firstPass, (bytes) => {
      if (ours[reads++]?.equals(bytes) === true) same++;
    });
    if (same === reads && reads === ours.length) return ours;
    throw new Error('the library and the baseline read different bytes');
  }
}
