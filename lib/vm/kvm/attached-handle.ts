import type { Addon, Descriptor } from './addon.js';
import { KvmHandle } from './kvm-handle.js';

/** Looks whether something else reads the table; `begun` says whether a call of ours may have taken marks, or changed entries. */
export type CheckIdle = (begun: boolean) => Promise<void>;

/**
 * A descriptor of a VMM that does not know that it is used: a look at what the VMM does stands before the first byte and
 * after every read and write. Once that has failed, nothing is read or written any more.
 */
export class AttachedHandle extends KvmHandle {
  readonly #checkIdle: CheckIdle;
  #begun = false;
  #failure: Error | undefined;

  constructor(addon: Addon, descriptor: Descriptor, access: 'read' | 'write', checkIdle: CheckIdle) {
    super(addon, descriptor, access);
    this.#checkIdle = checkIdle;
  }

  protected override readOnce(buffer: Uint8Array): Promise<number> {
    return this.#checked(() => super.readOnce(buffer));
  }

  protected override writeOnce(bytes: Uint8Array): Promise<number> {
    return this.#checked(() => super.writeOnce(bytes));
  }

  protected override writeEach(bytes: Uint8Array): Promise<number> {
    return this.#checked(() => super.writeEach(bytes));
  }

  async #checked(call: () => Promise<number>): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      if (!this.#begun) await this.#checkIdle(false);
      this.#begun = true;
      const length = await call();
      await this.#checkIdle(true);
      return length;
    } catch (error) {
      this.#failure = error as Error;
      throw error;
    }
  }
}
