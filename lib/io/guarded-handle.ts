import { checkFunction, invalidTypeError } from '../base/arguments.js';
import type { HtabHandle } from '../vm/contract.js';
import { isHandle } from './vm-or-handle.js';

/**
 * A descriptor whose reads are allowed one by one: what a check throws before a read keeps it from being made, and what it
 * throws after one keeps its bytes back: changes may be lost then, and every later read throws the same.
 *
 * @param check called before and after every read
 */
export function guardedHandle(handle: HtabHandle, check: () => Promise<void>): HtabHandle {
  if (!isHandle(handle)) throw invalidTypeError('handle', 'an HtabHandle', handle);
  checkFunction('check', check);
  return new GuardedHandle(handle, check);
}

class GuardedHandle implements HtabHandle {
  readonly #handle: HtabHandle;
  readonly #check: () => Promise<void>;
  /** Bytes have been kept back: what is read after them is not whole. */
  #failure: { readonly reason: unknown } | undefined;

  constructor(handle: HtabHandle, check: () => Promise<void>) {
    this.#handle = handle;
    this.#check = check;
  }

  get access(): HtabHandle['access'] {
    return this.#handle.access;
  }

  async read(buffer: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure.reason;
    await this.#check();
    const bytes = await this.#handle.read(buffer);
    try {
      await this.#check();
    } catch (reason) {
      this.#failure = { reason };
      throw reason;
    }
    return bytes;
  }

  readBuffer(bytes: number): Uint8Array {
    return this.#handle.readBuffer?.(bytes) ?? new Uint8Array(bytes);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#handle.write(bytes);
  }

  writeRecords(bytes: Uint8Array): Promise<number> {
    return this.#handle.writeRecords(bytes);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
