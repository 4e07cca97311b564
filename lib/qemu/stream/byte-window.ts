const NO_BYTES = Buffer.alloc(0);

/**
 * The bytes of a stream that a parser looks at. They come in chunks cut anywhere and stay where they are: only what a
 * parser asks for as one piece, and two chunks share, is copied.
 *
 * ```ts
 * window.push(chunk);
 * while (window.ready(5)) { look at window.bytes from window.at on; window.advance(5); }
 * ```
 */
export class ByteWindow {
  /** Holds the bytes at `at` .. `end` - 1. */
  bytes: Buffer = NO_BYTES;
  at = 0;
  end = 0;
  /** Offset in the stream of `bytes[0]`. */
  #base = 0;
  /** What has come after the window's end. */
  #rest: Buffer | undefined;
  #carry: Buffer | undefined;
  #owed = 0;

  /** Offset in the stream of the next byte. */
  get offset(): number {
    return this.#base + this.at;
  }

  /** Bytes that {@link skip} has passed over and that have not come yet. */
  get owed(): number {
    return this.#owed;
  }

  get available(): number {
    return this.end - this.at;
  }

  /** Takes the next chunk, once {@link ready} has been false. It must not change until that is so again. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const skipped = Math.min(this.#owed, bytes.length);
    this.#owed -= skipped;
    if (this.at === this.end) {
      this.#open(bytes);
      this.at = skipped;
    } else {
      this.#rest = bytes;
    }
  }

  /**
   * Whether the next `count` bytes are there; then they are in {@link bytes} as one piece.
   *
   * @param count the same until it is true
   */
  ready(count: number): boolean {
    return this.end - this.at >= count || this.#gather(count);
  }

  /** Passes over bytes that {@link ready} has shown. */
  advance(count: number): void {
    this.at += count;
  }

  /** Passes over bytes, also over those that have not come yet. */
  skip(count: number): void {
    let left = count;
    for (;;) {
      const here = Math.min(left, this.end - this.at);
      this.at += here;
      left -= here;
      if (left === 0) return;
      if (this.#rest === undefined) break;
      this.#openRest();
    }
    this.#owed = left;
  }

  /** Counts as come what a source has passed over by itself. */
  passed(count: number): void {
    this.#owed -= count;
    this.#base += count;
  }

  uint8(offset = 0): number {
    return this.bytes[this.at + offset]!;
  }

  uint32(offset = 0): number {
    return this.bytes.readUInt32BE(this.at + offset);
  }

  /** As text of one byte a character: any byte has one. */
  text(offset: number, length: number): string {
    return this.bytes.toString('latin1', this.at + offset, this.at + offset + length);
  }

  #gather(count: number): boolean {
    if (this.#rest === undefined) return false;
    if (this.at === this.end) {
      this.#openRest();
      return this.end >= count;
    }
    const left = this.end - this.at;
    if (this.bytes !== this.#carry || this.at + count > this.#carry.length) {
      const carry = Buffer.allocUnsafe(count);
      carry.set(this.bytes.subarray(this.at, this.end));
      this.#open(carry);
      this.#carry = carry;
      this.end = left;
    }
    const part = this.#rest.subarray(0, count - left);
    this.bytes.set(part, this.end);
    this.end += part.length;
    this.#rest = part.length === this.#rest.length ? undefined : this.#rest.subarray(part.length);
    return left + part.length === count;
  }

  #openRest(): void {
    const rest = this.#rest!;
    this.#rest = undefined;
    this.#open(rest);
  }

  #open(bytes: Buffer): void {
    this.#base += this.at;
    this.bytes = bytes;
    this.at = 0;
    this.end = bytes.length;
  }
}
