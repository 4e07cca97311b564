import { checkInteger, outOfRangeError } from '../../base/arguments.js';

/** The memory is kept in blocks of so many bytes, each from its first write on. */
export const RAM_BLOCK_BYTES = 65_536;

/** Contents of a guest's memory, from guest address 0 on. What was never written is zeros, and takes no room. */
export class GuestRam {
  readonly bytes: number;
  readonly #blocks = new Map<number, Uint8Array>();

  /** @param bytes a multiple of 65,536, up to 2^44 */
  constructor(bytes: number) {
    checkInteger('bytes', bytes, RAM_BLOCK_BYTES, 2 ** 44);
    if (bytes % RAM_BLOCK_BYTES !== 0) throw outOfRangeError('bytes', 'a multiple of 65,536', bytes);
    this.bytes = bytes;
  }

  /** @throws RangeError beyond the end */
  read(offset: number, into: Uint8Array): void {
    this.#forEachBlock(offset, into.length, (number, start, at, length) => {
      const block = this.#blocks.get(number);
      if (block === undefined) into.fill(0, at, at + length);
      else into.set(block.subarray(start, start + length), at);
    });
  }

  /** @throws RangeError beyond the end */
  write(offset: number, bytes: Uint8Array): void {
    this.#forEachBlock(offset, bytes.length, (number, start, at, length) => {
      this.#open(number).set(bytes.subarray(at, at + length), start);
    });
  }

  /**
   * The words of a stretch that crosses no block, to be read and written in their place; undefined if none of its block has
   * been written and `make` is false.
   *
   * @param offset a multiple of 4
   */
  words(offset: number, bytes: number, make: boolean): Uint32Array | undefined {
    const number = Math.floor(offset / RAM_BLOCK_BYTES);
    const block = make ? this.#open(number) : this.#blocks.get(number);
    return block && new Uint32Array(block.buffer, offset % RAM_BLOCK_BYTES, bytes / 4);
  }

  #open(number: number): Uint8Array {
    let block = this.#blocks.get(number);
    if (block === undefined) this.#blocks.set(number, (block = new Uint8Array(RAM_BLOCK_BYTES)));
    return block;
  }

  #forEachBlock(
    offset: number,
    bytes: number,
    visit: (number: number, start: number, at: number, length: number) => void,
  ): void {
    checkInteger('offset', offset, 0, this.bytes - bytes);
    for (let at = 0, length; at < bytes; at += length) {
      const start = (offset + at) % RAM_BLOCK_BYTES;
      length = Math.min(RAM_BLOCK_BYTES - start, bytes - at);
      visit(Math.floor((offset + at) / RAM_BLOCK_BYTES), start, at, length);
    }
  }
}
