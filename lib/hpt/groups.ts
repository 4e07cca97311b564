/** HPTEs in one chunk of memory: 1 MiB. */
const CHUNK_HPTES = 65_536;
const SIZE_CLASSES = 6;
/** A group's place is kept in 29 bits beside its size class: at most 8 GiB of HPTEs. */
const MAX_HPTES = 2 ** 29;
const NONE = 0xffffffff;

/**
 * Memory for runs of 1, 2, 4, 8, 16 or 32 HPTEs (size classes 0..5), handed out by address.
 *
 * An address counts HPTEs: its high bits name the chunk, its low 16 bits the place inside. Groups handed out one after
 * the other lie one after the other, so a table filled in ascending order is read like one flat array.
 */
export class GroupStore {
  /** Words of the chunks; an HPTE is four of them, in the byte order of the stream. */
  readonly chunks: Uint32Array[] = [];
  // A free group's first word holds the address of the next free one of its class.
  readonly #free = new Uint32Array(SIZE_CLASSES).fill(NONE);
  #next = 0;

  /**
   * @param sizeClass log2 of the number of HPTEs, 0..5
   * @returns the address; what stands there is left over from before
   * @throws RangeError when 2^29 HPTEs (8 GiB) are in use
   */
  allocate(sizeClass: number): number {
    const recycled = this.#free[sizeClass]!;
    if (recycled !== NONE) {
      this.#free[sizeClass] = this.chunks[recycled >>> 16]![(recycled & 0xffff) << 2]!;
      return recycled;
    }
    const size = 1 << sizeClass;
    const room = (CHUNK_HPTES - (this.#next & 0xffff)) & 0xffff;
    // A group never lies in two chunks.
    if (room < size && room > 0) this.#next += room;
    if (this.#next + size > MAX_HPTES)
      throw new RangeError('a table holds at most 2^29 valid entries (8 GiB)');
    if (this.#next >>> 16 === this.chunks.length) this.chunks.push(new Uint32Array(CHUNK_HPTES * 4));
    const address = this.#next;
    this.#next += size;
    return address;
  }

  release(address: number, sizeClass: number): void {
    this.chunks[address >>> 16]![(address & 0xffff) << 2] = this.#free[sizeClass]!;
    this.#free[sizeClass] = address;
  }

  /** Gives all memory back. */
  clear(): void {
    this.chunks.length = 0;
    this.#free.fill(NONE);
    this.#next = 0;
  }
}

/** Copies `count` HPTEs word by word where they are few, as one block where they are many. */
export function copyHptes(
  source: Uint32Array,
  sourceWord: number,
  target: Uint32Array,
  targetWord: number,
  count: number,
): void {
  const words = count << 2;
  // A block copy costs about 75 ns before the first byte: as much as 24 HPTEs copied by words.
  if (count > 24) {
    target.set(source.subarray(sourceWord, sourceWord + words), targetWord);
    return;
  }
  for (let word = 0; word < words; word += 4) {
    target[targetWord + word] = source[sourceWord + word]!;
    target[targetWord + word + 1] = source[sourceWord + word + 1]!;
    target[targetWord + word + 2] = source[sourceWord + word + 2]!;
    target[targetWord + word + 3] = source[sourceWord + word + 3]!;
  }
}

/** Moves `count` HPTEs one place up (`by` = 4 words) or down (-4) inside one array. */
export function shiftHptes(words: Uint32Array, from: number, count: number, by: number): void {
  if (count > 0) words.copyWithin(from + by, from, from + (count << 2));
}
