import { type PageGroups, copyHptes } from '../hpt/groups.js';
import { swapLittleEndian } from '../hpt/wire.js';

/** HPTEs are moved in doublewords. */
const ALIGNMENT = 8;
/** Counts of a record that takes no more entries. */
const CLOSED = -1;

/** Fills a buffer with records, by the kernel's rules for how long each may be (kernel-abi.md 2.3). */
export class RecordWriter {
  readonly #buffer: Uint8Array;
  /** The buffer, or an aligned stand-in for it. */
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #longs: BigUint64Array;
  /** A record begins while six words fit before it, and takes an HPTE while four do: the last byte is never used. */
  readonly #limit: number = 0;
  /** Words written. */
  #position = 0;
  /** Word of the header of the record at hand. */
  #header = 0;
  /** Its counts, as in the header: valid entries in the low 16 bits, invalid ones in the high. */
  #counts = CLOSED;

  constructor(buffer: Uint8Array) {
    const bytes = buffer.byteOffset % ALIGNMENT === 0 ? buffer : new Uint8Array(buffer.length);
    this.#buffer = buffer;
    this.#bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.#longs = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 3);
    this.#limit = (buffer.length - 1) >>> 2;
  }

  /**
   * Says that the next entry is not reported.
   *
   * @returns false if there is no room for another record, which the kernel finds out before it looks any further
   */
  close(): boolean {
    this.#counts = CLOSED;
    return this.#position + 6 <= this.#limit;
  }

  /**
   * Reports `gap` entries as invalid and the next `count` as valid, whose HPTEs stand side by side.
   *
   * @param index ptex of the first, in 32 bits
   * @param groups holds the HPTEs, from `place` on
   * @returns how many found room
   */
  report(index: number, gap: number, count: number, groups: PageGroups | undefined, place: number): number {
    const counts = this.#counts;
    const position = this.#position;
    if (
      gap > 0 &&
      gap <= 0xffff - (counts >>> 16) &&
      count > 0 &&
      count <= 0xffff &&
      position + 2 + (count << 2) <= this.#limit
    ) {
      // Nearly always the record at hand takes the gap, and the next one the run. At one go this makes the first pass of
      // a sparse table an eighth faster.
      const words = this.#words;
      words[this.#header + 1] = swapLittleEndian(counts + (gap << 16));
      words[position] = swapLittleEndian(index + gap);
      words[position + 1] = swapLittleEndian(count);
      copyHptes(groups!.longs, place << 1, this.#longs, (position + 2) >>> 1, count);
      this.#header = position;
      this.#counts = count;
      this.#position = position + 2 + (count << 2);
      return gap + count;
    }
    const done = gap > 0 ? this.#invalid(index, gap) : 0;
    return count === 0 || done < gap ? done : done + this.#valid(index + gap, count, groups!, place);
  }

  /** @returns bytes written */
  finish(): number {
    const length = this.#position << 2;
    if (this.#bytes !== this.#buffer) this.#buffer.set(this.#bytes.subarray(0, length));
    return length;
  }

  #invalid(index: number, count: number): number {
    let done = 0;
    do {
      let counts = this.#counts;
      if (counts >>> 16 === 0xffff) {
        if (!this.#begin(index + done)) break;
        counts = 0;
      }
      const length = Math.min(count - done, 0xffff - (counts >>> 16));
      counts = (counts + (length << 16)) | 0;
      this.#counts = counts;
      this.#words[this.#header + 1] = swapLittleEndian(counts);
      done += length;
    } while (done < count);
    return done;
  }

  #valid(index: number, count: number, groups: PageGroups, place: number): number {
    let done = 0;
    do {
      let counts = this.#counts;
      if (counts >>> 0 >= 0xffff) {
        if (!this.#begin(index + done)) break;
        counts = 0;
      }
      const position = this.#position;
      const length = Math.min(count - done, 0xffff - counts, (this.#limit - position) >>> 2);
      if (length === 0) break;
      copyHptes(groups.longs, (place + done) << 1, this.#longs, position >>> 1, length);
      counts += length;
      this.#counts = counts;
      this.#words[this.#header + 1] = swapLittleEndian(counts);
      this.#position = position + (length << 2);
      done += length;
    } while (done < count);
    return done;
  }

  #begin(index: number): boolean {
    const position = this.#position;
    if (position + 6 > this.#limit) return false;
    this.#header = position;
    this.#words[position] = swapLittleEndian(index);
    this.#position = position + 2;
    return true;
  }
}
