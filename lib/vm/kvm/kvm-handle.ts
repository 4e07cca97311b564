import { checkPath } from '../../arguments.js';
import {
  BaseHandle,
  type CallQueue,
  type CallResult,
  type RecordsResult,
  checkCall,
  cutRecord,
} from '../base.js';
import type { Addon, Descriptor } from './addon.js';
import { attempt } from './failure.js';
import { type PassingOptions, offerDescriptor } from './passing.js';
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
    this.checkOpen();
    // Beside the queue, and of a descriptor of its own: the wait for a peer holds up neither calls nor close().
    const duplicate = await attempt('duplicate an HTAB descriptor', this.#addon.duplicate(this.#descriptor));
    try {
      await offerDescriptor(this.#addon, duplicate, socketPath, options);
    } finally {
      await duplicate.close();
    }
  }

  protected readOnce(buffer: Uint8Array): Promise<CallResult> {
    return this.#addon.read(this.#descriptor, buffer);
  }

  protected writeOnce(bytes: Uint8Array): Promise<CallResult> {
    return this.#addon.write(this.#descriptor, bytes);
  }

  /** All records in one trip to the pool: a trip costs 10 to 30 us, and a sparse table has a record per entry. */
  protected override async writeEach(bytes: Uint8Array): Promise<RecordsResult> {
    const { length } = bytes;
    const { cut, ...result } = await this.#addon.writeRecords(this.#descriptor, bytes);
    if (cut !== undefined) throw cutRecord(length, cut.byteOffset, cut.recordIndex);
    return result;
  }

  protected async closeOnce(): Promise<void> {
    forgetOwner(this);
    checkCall(await this.#descriptor.close(), 'close', `close an HTAB ${this.access} handle`);
  }
}
