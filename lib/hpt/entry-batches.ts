import { BLOCK_BITS, BLOCK_WORDS, lowestBit, nextWord } from './bitmap.js';
import { swapBigEndian } from './byte-order.js';
import type { HptTable } from './table.js';

/** Valid entries side by side; the same memory is filled again for the next batch. */
export interface EntryBatch {
  readonly ptex: Float64Array;
  readonly v: BigUint64Array;
  readonly r: BigUint64Array;
}

/** Place of a doubleword's high word on this machine. */
const HIGH = swapBigEndian(1) === 1 ? 0 : 1;
const LOW = 1 - HIGH;

/**
 * The valid entries of a table, ascending, in batches: as doublewords, without making one per entry.
 *
 * @param length entries of every batch but the last
 */
export function* entryBatches(table: HptTable, length: number): Generator<EntryBatch, undefined, undefined> {
  const batch = new Filling(length);
  for (const [number, bits] of table.valid.blocks.entries()) {
    if (bits === undefined) continue;
    const packed = table.blocks[number]!;
    for (let word = nextWord(bits, 0); word < BLOCK_WORDS; word = nextWord(bits, word + 1)) {
      let at = packed.placeOf(word) << 2;
      for (let rest = bits[word]!; rest !== 0; rest &= rest - 1, at += 4) {
        batch.add(number * BLOCK_BITS + word * 32 + lowestBit(rest), packed.words, at);
        if (batch.held === length) yield batch.take();
      }
    }
  }
  if (batch.held > 0) yield batch.take();
}

class Filling {
  held = 0;
  readonly #ptex: Float64Array;
  readonly #v: BigUint64Array;
  readonly #r: BigUint64Array;
  readonly #vWords: Uint32Array;
  readonly #rWords: Uint32Array;

  constructor(length: number) {
    this.#ptex = new Float64Array(length);
    this.#v = new BigUint64Array(length);
    this.#r = new BigUint64Array(length);
    this.#vWords = new Uint32Array(this.#v.buffer);
    this.#rWords = new Uint32Array(this.#r.buffer);
  }

  /** Adds an entry whose HPTE's words begin at `words[word]`, as they travel. */
  add(ptex: number, words: Uint32Array, word: number): void {
    const at = this.held * 2;
    this.#ptex[this.held++] = ptex;
    this.#vWords[at + HIGH] = swapBigEndian(words[word]!);
    this.#vWords[at + LOW] = swapBigEndian(words[word + 1]!);
    this.#rWords[at + HIGH] = swapBigEndian(words[word + 2]!);
    this.#rWords[at + LOW] = swapBigEndian(words[word + 3]!);
  }

  take(): EntryBatch {
    const count = this.held;
    this.held = 0;
    return {
      ptex: this.#ptex.subarray(0, count),
      v: this.#v.subarray(0, count),
      r: this.#r.subarray(0, count),
    };
  }
}
