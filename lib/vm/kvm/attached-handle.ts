import type { Addon, Descriptor } from './addon.js';
import { KvmHandle } from './kvm-handle.js';

/** Looks whether something else reads the table; `begun` says whether a read of ours may have taken marks. */
export type CheckIdle = (begun: boolean) => Promise<void>;

/**
 * A descriptor of a VMM that does not know that it is read: a look at what the VMM does stands before the first byte and
 * after every read. Once that has failed, nothing is read any more.
 */
export class AttachedHandle extends KvmHandle {
  readonly #checkIdle: CheckIdle;
  #begun = false;
  #failure: Error | undefined;

  constructor(addon: Addon, descriptor: Descriptor, access: 'read' | 'write', checkIdle: CheckIdle) {
    super(addon, descriptor, access);
    this.#checkIdle = checkIdle;
  }

  protected override async readOnce(buffer: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      if (!this.#begun) await this.#checkIdle(false);
      this.#begun = true;
      const length = await super.readOnce(buffer);
      await this.#checkIdle(true);
      return length;
    } catch (error) {
      this.#failure = error as Error;
      throw error;
    }
  }
}
