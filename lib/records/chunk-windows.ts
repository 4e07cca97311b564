import { checkBytes, invalidValueError } from '../base/arguments.js';
import { Carry } from './carry.js';
import type { HeaderByteOrder } from './header.js';

/** Alignment of all HPTEs of a stream, and so of memory that is read as u32 and u64. */
const ALIGNMENT = 8;

/**
 * A stream that comes in chunks, as windows that begin with a header or an HPTE and are aligned: a chunk, its copy, or what two
 * chunks share.
 */
export class ChunkWindows {
  /** The window. */
  bytes: Uint8Array = new Uint8Array(0);
  words: Uint32Array = new Uint32Array(0);
  longs: BigUint64Array = new BigUint64Array(0);
  /** Its offset in the stream. */
  offset = 0;
  /** The next chunk is wanted. */
  hungry = true;
  /** The end of the last chunk. */
  readonly carry: Carry;

  #length = 0;
  /** The rest of a chunk whose first bytes went into the carry. */
  #rest: Uint8Array | undefined;
  #copy = new Uint8Array(0);

  constructor(headerByteOrder: HeaderByteOrder) {
    this.carry = new Carry(headerByteOrder);
  }

  /** @param inRecord the stream goes on with an HPTE, not a header @returns whether there is a window now */
  push(chunk: Uint8Array, inRecord: boolean): boolean {
    if (this.carry.length === 0) {
      this.#open(chunk);
      return true;
    }
    const taken = this.carry.complete(chunk, inRecord);
    if (taken === undefined) return false;
    this.#rest = chunk.subarray(taken);
    this.#open(this.carry.take());
    return true;
  }

  /**
   * Leaves the window, whose words before `at` have been read.
   *
   * @returns whether there is another: the rest of the chunk. If not, what has not been read is in the carry
   */
  leave(at: number): boolean {
    this.checkMemory();
    const rest = this.#rest;
    if (rest !== undefined) checkBytes('chunk', rest);
    this.offset += at * 4;
    if (rest !== undefined) {
      this.#rest = undefined;
      this.#open(rest);
      return true;
    }
    this.carry.keep(this.bytes.subarray(at * 4, this.#length));
    this.hungry = true;
    return false;
  }

  /** Throws if the window's memory has gone since it was opened. */
  checkMemory(): void {
    if (this.bytes.length >= this.#length) return;
    throw invalidValueError('The memory of the "chunk" argument was transferred away');
  }

  #open(chunk: Uint8Array): void {
    let bytes = chunk;
    if (chunk.byteOffset % ALIGNMENT !== 0) {
      if (this.#copy.length < chunk.length) this.#copy = new Uint8Array(chunk.length);
      bytes = this.#copy;
      bytes.set(chunk);
    }
    this.bytes = bytes;
    this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, Math.floor(chunk.length / 4));
    this.longs = new BigUint64Array(bytes.buffer, bytes.byteOffset, Math.floor(chunk.length / 8));
    this.#length = chunk.length;
    this.hungry = false;
  }
}
