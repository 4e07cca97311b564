import { migrationError } from '../errors.js';
import { MAX_STATE_BYTES } from '../rest.js';

/** Puts the state together, in memory that grows with what has come: however small its frames are, it costs no more. */
export class StateBuffer {
  #memory = new Uint8Array(0);
  #length = 0;

  /** A copy, which its reader may keep. */
  get bytes(): Uint8Array {
    return this.#memory.slice(0, this.#length);
  }

  /** @throws HtabError `ERR_HTAB_MIGRATION` if it would be longer than a state may be */
  append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > MAX_STATE_BYTES) {
      throw migrationError(
        `the source sent ${length} bytes of state; at most ${MAX_STATE_BYTES} are accepted`,
      );
    }
    if (length > this.#memory.length) {
      const larger = new Uint8Array(Math.min(MAX_STATE_BYTES, Math.max(length, 2 * this.#memory.length)));
      larger.set(this.#memory.subarray(0, this.#length));
      this.#memory = larger;
    }
    this.#memory.set(bytes, this.#length);
    this.#length = length;
  }
}
