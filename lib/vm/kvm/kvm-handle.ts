import { isMainThread } from 'node:worker_threads';
import { checkPath } from '../../base/arguments.js';
import { checkOptions } from '../../base/options.js';
import { BaseHandle, cutRecordError, partialWriteError } from '../base-handle.js';
import type { CallQueue } from '../call-queue.js';
import { attempt } from '../call-result.js';
import { type Addon, type Descriptor, discard } from './addon.js';
import { PASSING_OPTIONS, type PassingOptions, offerDescriptor } from './passing.js';
import { forgetOwner, watchOwner } from './unclosed.js';

/** An HTAB descriptor of the real kernel. */
export class KvmHandle extends BaseHandle {
  readonly #addon: Addon;
  readonly #descriptor: Descriptor;

  /**
   * @internal
   * @param queue the VM's, where the VM is ours: its ALLOCATE and RESIZE may not overlap a read (kernel-abi.md 2.4)
   */
  constructor(addon: Addon, descriptor: Descriptor, access: 'read' | 'write', queue?: CallQueue) {
    super(access, queue);
    this.#addon = addon;
    this.#descriptor = descriptor;
    watchOwner(this, descriptor, `an HTAB ${access} handle`);
  }

  /**
   * Lends the descriptor to one other process: listens at `socketPath`, where nothing may be yet, and sends a duplicate
   * to the first process of the same user that connects. Both ends then share one cursor. Resolves once the duplicate
   * is on its way: a peer that hangs up without receiving it is not noticed.
   *
   * The handle can be used and closed meanwhile; the duplicate keeps the VM alive until it has been sent, or given up.
   *
   * @throws HtabSystemError ETIMEDOUT, or what the socket call said
   * @throws the signal's reason
   */
  async sendTo(socketPath: string, options: PassingOptions = {}): Promise<void> {
    checkPath('socketPath', socketPath);
    checkOptions(options, PASSING_OPTIONS);
    this.checkOpen();
    // Beside the queue, and of a descriptor of its own: the wait for a peer holds up neither calls nor close().
    const duplicate = await attempt('duplicate an HTAB descriptor', () =>
      this.#addon.duplicate(this.#descriptor),
    );
    try {
      await offerDescriptor(this.#addon, duplicate, socketPath, options);
    } finally {
      await discard(duplicate);
    }
  }

  readBuffer(bytes: number): Uint8Array {
    // A worker may end while another thread has what it transferred there: the addon's memory ends with its thread.
    const lent = isMainThread ? this.#addon.allocate(bytes) : undefined;
    return lent ?? new Uint8Array(bytes);
  }

  protected readOnce(buffer: Uint8Array): Promise<number> {
    return this.#addon.read(this.#descriptor, buffer);
  }

  protected writeOnce(bytes: Uint8Array): Promise<number> {
    return this.#addon.write(this.#descriptor, bytes);
  }

  /** All records in one trip to the pool: a trip costs 10 to 30 us, and a sparse table has a record per entry. */
  protected override async writeEach(bytes: Uint8Array): Promise<number> {
    const { length } = bytes;
    const result = await this.#addon.writeRecords(this.#descriptor, bytes);
    const { bytesApplied, recordsApplied: recordIndex, partial, cut } = result;
    if (cut !== undefined) throw cutRecordError(length, cut.byteOffset, cut.recordIndex);
    if (partial === undefined) return bytesApplied;
    const { ptex, bytesTaken } = partial;
    throw partialWriteError(bytesTaken, { ptex, recordIndex, bytesApplied });
  }

  protected async closeOnce(): Promise<void> {
    forgetOwner(this);
    await attempt(`close an HTAB ${this.access} handle`, () => this.#descriptor.close());
  }
}
