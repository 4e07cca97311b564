import { checkOneOf, checkInteger } from '../base/arguments.js';
import { HtabUnavailableError, HtabStateError } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options.js';
import { checkOrder } from '../hpt/geometry.js';
import { CallQueue } from './call-queue.js';
import { attempt } from './call-result.js';
import type { HtabVm, BackendName, OpenHtabOptions, HtabHandle } from './contract.js';

const OPEN_HTAB_NAMES: OptionNames<OpenHtabOptions> = {
  access: true,
  boltedOnly: true,
  startIndex: true,
  signal: true,
};

/** What is the same for every backend's VM. */
export abstract class BaseVm implements HtabVm {
  abstract readonly backend: BackendName;
  abstract readonly hptOrder: number | undefined;
  /** Everything that touches this VM's table waits its turn here. */
  protected readonly queue = new CallQueue();
  #closing: Promise<void> | undefined;

  // A system call that fails throws a CallFailure.
  /** @returns the order of the table that the guest was given */
  protected abstract allocate(order: number): number | Promise<number>;
  protected abstract prepareResize(order: number): number | Promise<number>;
  protected abstract commitResize(order: number): void | Promise<void>;
  protected abstract open(options: OpenHtabOptions): HtabHandle | Promise<HtabHandle>;
  protected abstract closeOnce(): void | Promise<void>;

  async allocateHpt(order: number): Promise<void> {
    // The kernel frees the live table before it looks at the order, and crashes on 0 (kernel-abi.md 0, trap 5).
    checkOrder(order);
    const granted = await this.attempt(`allocate an HPT of order ${order}`, () => this.allocate(order));
    if (granted === order) return;
    throw new HtabUnavailableError(
      'refused',
      `the kernel gave the guest a table of order ${granted}, not ${order}: it has no memory for a larger one`,
      `free contiguous memory on the host and allocate order ${order} again, or allocate order ${granted}`,
    );
  }

  async prepareHptResize(order: number): Promise<number> {
    checkResizeOrder(order);
    return this.attempt(`prepare an HPT of order ${order}`, () => this.prepareResize(order));
  }

  async commitHptResize(order: number): Promise<void> {
    checkResizeOrder(order);
    await this.attempt(`resize the HPT to order ${order}`, () => this.commitResize(order));
  }

  async openHtab(options: OpenHtabOptions = {}): Promise<HtabHandle> {
    checkOptions(options, OPEN_HTAB_NAMES);
    const { access = 'read', startIndex = 0, signal } = options;
    checkOneOf('access', access, ['read', 'write']);
    checkInteger('startIndex', startIndex, 0, Number.MAX_SAFE_INTEGER);
    const handle = await this.#call(() => {
      signal?.throwIfAborted();
      return attempt(`open the HPT to ${access}`, () => this.open(options));
    });
    // Not within the call above: the handle's close waits in the same queue.
    if (signal?.aborted === true) {
      await handle.close();
      signal.throwIfAborted();
    }
    return handle;
  }

  close(): Promise<void> {
    this.#closing ??= this.queue.run(() => this.closeOnce());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Makes a system call in its turn, as the function of this name does. */
  protected attempt<T>(operation: string, call: () => T | Promise<T>): Promise<T> {
    return this.#call(() => attempt(operation, call));
  }

  /** Runs a job in its turn; refuses it once the VM is closed. */
  #call<T>(job: () => T | Promise<T>): Promise<T> {
    if (this.#closing !== undefined)
      return Promise.reject(new HtabStateError('closed', `the ${this.backend} VM is closed`));
    return this.queue.run(job);
  }
}

/** The kernel refuses a wrong order itself, and changes nothing then (kernel-abi.md 5): any 32-bit number goes. */
function checkResizeOrder(order: number): void {
  checkInteger('order', order, 0, 0xffff_ffff);
}
