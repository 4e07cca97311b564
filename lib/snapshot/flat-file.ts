import type { HtabFormatError } from '../base/errors.js';
import { swapBigEndian } from '../hpt/byte-order.js';
import { forEachValid } from '../hpt/entries.js';
import { storeImage } from '../hpt/flat-image.js';
import { HPTE_BYTES, MAX_STREAM_ORDER, MIN_ORDER, ptegCount } from '../hpt/geometry.js';
import { misplacedBits } from '../hpt/placement.js';
import { HptTable } from '../hpt/table.js';
import { withOrder } from './with-order.js';

/** So many entries of a table can be wrong. Of those that noise has in the smallest one, seven in ten are. */
const STRANGE_SHARE = 0.1;

/**
 * Makes a table of a file that is its memory: 16 bytes an entry, big-endian. Nothing else in it tells that it is one, so its
 * entries must look like it.
 */
export class FlatFile {
  readonly #table: HptTable;
  readonly #refuse: (reason: string) => HtabFormatError;
  #rest = new Uint8Array(0);
  #offset = 0;

  /**
   * @param size of the file, where it is known before its end
   * @param refuse makes the error of a file that is no table's memory
   * @throws what it makes, for a size that no table has
   */
  constructor(size: number | undefined, refuse: (reason: string) => HtabFormatError) {
    this.#refuse = refuse;
    this.#table = new HptTable(size === undefined ? MAX_STREAM_ORDER : this.#orderOf(size));
  }

  get validCount(): number {
    return this.#table.validCount;
  }

  /** @throws HtabFormatError for more bytes than the table has */
  push(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = bytes.length - (bytes.length % HPTE_BYTES);
    if (this.#offset + bytes.length > 2 ** this.#table.order)
      throw this.#refuse(`it has more than the ${2 ** this.#table.order} bytes of its table`);
    storeImage(this.#table, this.#offset / HPTE_BYTES, bytes.subarray(0, whole));
    this.#offset += whole;
    this.#rest = Uint8Array.from(bytes.subarray(whole));
  }

  /**
   * Ends the file.
   *
   * @throws HtabFormatError for a length that no table has, and where too many of its entries cannot be ones
   */
  finish(): HptTable {
    const order = this.#orderOf(this.#offset + this.#rest.length);
    const table = order === this.#table.order ? this.#table : withOrder(this.#table, order);
    const strange = strangeEntries(table);
    if (strange > table.validCount * STRANGE_SHARE) {
      throw this.#refuse(
        `${strange} of the ${table.validCount} entries that it would have are not where their addresses hash to`,
      );
    }
    return table;
  }

  #orderOf(bytes: number): number {
    const order = Math.log2(bytes);
    if (Number.isInteger(order) && order >= MIN_ORDER && order <= MAX_STREAM_ORDER) return order;
    throw this.#refuse(
      `it has ${bytes} bytes; a table has 2^${MIN_ORDER} to 2^${MAX_STREAM_ORDER}, a power of two`,
    );
  }
}

/** Entries that the hardware would not find, or not accept. */
function strangeEntries(table: HptTable): number {
  const groups = ptegCount(table.order) - 1;
  let strange = 0;
  forEachValid(table, (ptex, words, word) => {
    const [vHigh, vLow] = [swapBigEndian(words[word]!), swapBigEndian(words[word + 1]!)];
    const bits = misplacedBits(ptex, vHigh, vLow, swapBigEndian(words[word + 3]!));
    if (bits === -1 || (bits & groups) !== 0) strange++;
  });
  return strange;
}
