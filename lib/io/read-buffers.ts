import type { HtabHandle } from '../vm/contract.js';

/** One in the caller's hands, one waiting in a stream's queue, one that is read into. */
const BUFFERS = 3;

/** The memory that a reader reads into: a few buffers that take turns. */
export class ReadBuffers {
  readonly #handle: HtabHandle;
  readonly #bytes: number;
  readonly #recycle: boolean;
  /** Undefined before first use, or when given away. */
  readonly #buffers = new Array<Uint8Array | undefined>(BUFFERS);
  #turn = 0;

  /**
   * @param handle that reads into them
   * @param bytes length of each
   * @param recycle what is handed out is read into again in its turn; otherwise it is the caller's to keep
   */
  constructor(handle: HtabHandle, bytes: number, recycle: boolean) {
    this.#handle = handle;
    this.#bytes = bytes;
    this.#recycle = recycle;
  }

  /** The buffer whose turn it is to be read into. */
  next(): Uint8Array {
    this.#turn = (this.#turn + 1) % BUFFERS;
    let buffer = this.#buffers[this.#turn];
    // A caller that transferred a chunk to another thread has left an empty buffer, into which reads would give 0.
    if (buffer?.length !== this.#bytes) {
      buffer = this.#allocate();
      this.#buffers[this.#turn] = buffer;
    }
    return buffer;
  }

  /** What the caller keeps must be ordinary memory, which it may transfer to a thread. */
  #allocate(): Uint8Array {
    const recycled = this.#recycle ? this.#handle.readBuffer?.(this.#bytes) : undefined;
    return recycled ?? new Uint8Array(this.#bytes);
  }

  /** The first bytes of a buffer, for the caller. */
  handOut(buffer: Uint8Array, length: number): Uint8Array {
    if (this.#recycle) return buffer.subarray(0, length);
    // A few changes should not keep a whole buffer alive.
    if (length <= buffer.length / 2) return buffer.slice(0, length);
    this.#buffers[this.#buffers.indexOf(buffer)] = undefined;
    return buffer.subarray(0, length);
  }
}
