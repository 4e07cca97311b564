import { HPTE_BYTES, MAX_STREAM_ORDER, MIN_ORDER, tableBytes } from '../../hpt/geometry.js';
import {
  HPTE_R_MODIFIED_HIGH,
  HPTE_V_PRIVATE,
  HPTE_V_VALID,
  hasReservedSegment,
  sameHpte,
} from '../../hpt/hpte-bits.js';
import { HptTable } from '../../hpt/table.js';
import { swapBigEndian } from '../../hpt/byte-order.js';
import { outOfRangeError } from '../../base/arguments.js';
import { HtabStateError } from '../../base/errors.js';
import type { EntrySink } from '../record-loop.js';

const WORDS_PER_HPTE = HPTE_BYTES / 4;
/** V, as it stands in the image's words. */
const WORD_VALID = swapBigEndian(HPTE_V_VALID);

/** Open read descriptors of a VM: only while there are any, changes are marked (kernel-abi.md 3.2). */
export interface Interest {
  readers: number;
}

/**
 * A table as a flat image, 16 bytes per entry, big-endian, that its owner changes at will; and the table as readers
 * know it, which follows when the owner announces a change or a comparison finds one.
 */
export class FlatTable implements EntrySink {
  /** The owner's memory. */
  readonly image: Uint8Array;
  /** What readers are told, without bits that are private to an owner; its dirty marks are the changed-marks. */
  readonly known: HptTable;
  readonly #interest: Interest;
  readonly #words: Uint32Array;
  readonly #hpte = new Uint32Array(4);

  /** @throws RangeError unless the image is of a table order up to 36, and aligned to 4 bytes */
  constructor(image: Uint8Array, interest: Interest) {
    const order = Math.log2(image.length);
    if (!Number.isInteger(order) || order < MIN_ORDER || order > MAX_STREAM_ORDER) {
      const range = `a power of two in 2^${MIN_ORDER}..2^${MAX_STREAM_ORDER}`;
      throw outOfRangeError('image.length', range, image.length);
    }
    if (image.byteOffset % 4 !== 0)
      throw outOfRangeError('image.byteOffset', 'a multiple of 4', image.byteOffset);
    this.image = image;
    this.#interest = interest;
    this.known = new HptTable(order);
    this.#words = new Uint32Array(image.buffer, image.byteOffset, image.length / 4);
  }

  get entryCount(): number {
    return this.known.entryCount;
  }

  /**
   * Refuses to look at memory that the owner has transferred away, to a worker say: it reads as an empty table.
   *
   * @throws HtabStateError `lost`
   */
  checkMemory(): void {
    const bytes = tableBytes(this.known.order);
    if (this.image.length === bytes) return;
    throw new HtabStateError(
      'lost',
      `the image's memory was transferred away or resized: the table has ${bytes} bytes, and ${this.image.length} are there`,
    );
  }

  /** Takes an entry over from the image; returns whether it differed from what readers know. */
  take(ptex: number): boolean {
    const words = this.#words;
    const at = ptex * WORDS_PER_HPTE;
    // Private to the keeper of the table: QEMU's changed-mark, too, is bit 0x40.
    const vLow = swapBigEndian(words[at + 1]!) & ~HPTE_V_PRIVATE;
    if ((vLow & HPTE_V_VALID) === 0) return this.known.remove(ptex);
    const vHigh = swapBigEndian(words[at]!);
    const rHigh = (swapBigEndian(words[at + 2]!) & ~HPTE_R_MODIFIED_HIGH) >>> 0;
    const rLow = swapBigEndian(words[at + 3]!);
    const hpte = this.#hpte;
    if (this.known.load(ptex, hpte) && sameHpte(hpte, vHigh, vLow, rHigh, rLow)) return false;
    this.known.store(ptex, vHigh, vLow, rHigh, rLow);
    return true;
  }

  /** Takes every entry over from the image and marks those that differed; returns how many did. */
  takeAll(): number {
    const { entryCount } = this;
    const { valid } = this.known;
    const words = this.#words;
    let changes = 0;
    let nextKnown = valid.next(0);
    for (let ptex = 0; ptex < entryCount; ptex++) {
      // Tables are mostly empty: where nothing is and nothing was, one word is all that is looked at.
      if (ptex < nextKnown && (words[ptex * WORDS_PER_HPTE + 1]! & WORD_VALID) === 0) continue;
      if (this.take(ptex)) {
        this.mark(ptex);
        changes++;
      }
      if (ptex === nextKnown) nextKnown = valid.next(ptex + 1);
    }
    return changes;
  }

  /** Marks an entry as changed, if anyone reads. */
  mark(ptex: number): void {
    if (this.#interest.readers > 0) this.known.dirty.add(ptex);
  }

  enter(ptex: number, vHigh: number, vLow: number, rHigh: number, rLow: number): boolean {
    this.removeRun(ptex, 1);
    if (hasReservedSegment(vHigh)) return false;
    const words = this.#words;
    const at = ptex * WORDS_PER_HPTE;
    words[at] = swapBigEndian(vHigh);
    words[at + 1] = swapBigEndian(vLow & ~HPTE_V_PRIVATE);
    words[at + 2] = swapBigEndian(rHigh & ~HPTE_R_MODIFIED_HIGH);
    words[at + 3] = swapBigEndian(rLow);
    this.take(ptex);
    // While there is no reader, an entry made anew loses an old mark (kernel-abi.md 3.2).
    this.known.dirty.delete(ptex);
    this.mark(ptex);
    return true;
  }

  removeRun(ptex: number, count: number): void {
    const { valid } = this.known;
    const end = ptex + count;
    for (let index = valid.next(ptex, end); index < end; index = valid.next(index + 1, end)) {
      this.known.remove(index);
      this.mark(index);
    }
    this.#words.fill(0, ptex * WORDS_PER_HPTE, end * WORDS_PER_HPTE);
  }

  /** Empties the table in place; marks stay (kernel-abi.md 5.1). */
  reset(): void {
    this.image.fill(0);
    this.known.clear();
  }
}
