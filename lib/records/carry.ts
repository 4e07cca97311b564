import { HPTE_BYTES } from '../hpt/geometry.js';
import { HEADER_BYTES, type HeaderByteOrder, type RecordHeader, readHeader } from './header.js';

/** What two chunks share of a stream: a header, an HPTE, or a header and its first HPTE. */
export class Carry {
  readonly #headerByteOrder: HeaderByteOrder;
  readonly #bytes = new Uint8Array(HEADER_BYTES + HPTE_BYTES);
  /** Bytes that are here. */
  length = 0;

  constructor(headerByteOrder: HeaderByteOrder) {
    this.#headerByteOrder = headerByteOrder;
  }

  /** Keeps the end of a chunk. */
  keep(bytes: Uint8Array): void {
    this.#bytes.set(bytes);
    this.length = bytes.length;
  }

  /**
   * Takes from the next chunk what is still missing.
   *
   * @param inRecord an HPTE is missing, not a header
   * @returns bytes that it took, or undefined if the chunk has not enough: it took all of them
   */
  complete(chunk: Uint8Array, inRecord: boolean): number | undefined {
    let taken = 0;
    for (;;) {
      const missing = (inRecord ? HPTE_BYTES : this.#headerAndHpte()) - this.length;
      if (missing <= 0) return taken;
      if (taken === chunk.length) return undefined;
      const part = chunk.subarray(taken, taken + missing);
      this.#bytes.set(part, this.length);
      this.length += part.length;
      taken += part.length;
    }
  }

  /** What is here, which is then here no more. */
  take(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.length);
    this.length = 0;
    return bytes;
  }

  /** The header that is here: {@link length} is 8 at least. */
  get header(): RecordHeader {
    return readHeader(this.#bytes, 0, this.#headerByteOrder);
  }

  #headerAndHpte(): number {
    if (this.length < HEADER_BYTES) return HEADER_BYTES;
    return this.header.validCount === 0 ? HEADER_BYTES : HEADER_BYTES + HPTE_BYTES;
  }
}
