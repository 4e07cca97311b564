const HEADER_BYTES = 4;
/** The destination's last message: u32, 0 if it has loaded the guest. */
const SHUT = 1;

/** Looks at what a destination says to its source, for the one message that tells whether it has the guest. */
export class ReturnPath {
  /** Bytes that have come. */
  bytes = 0;
  /** What the destination said at last: 0 for a guest that it has loaded. */
  shut: number | undefined;
  readonly #head = Buffer.alloc(HEADER_BYTES + 4);
  #have = 0;
  /** Bytes of the message's data still to be passed over, beyond those in `#head`. */
  #left = 0;

  take(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    for (let at = 0; at < chunk.length;) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, chunk.length - at);
        this.#left -= skipped;
        at += skipped;
      } else {
        this.#head[this.#have++] = chunk[at++]!;
        this.#look();
      }
    }
  }

  /** A message: u16 type, u16 length, data. */
  #look(): void {
    if (this.#have < HEADER_BYTES) return;
    const [type, length] = [this.#head.readUInt16BE(0), this.#head.readUInt16BE(2)];
    const isShut = type === SHUT && length === 4;
    if (isShut && this.#have < HEADER_BYTES + length) return;
    if (isShut) this.shut = this.#head.readUInt32BE(HEADER_BYTES);
    else this.#left = length;
    this.#have = 0;
  }
}
