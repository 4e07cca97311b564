import { HtabStateError } from '../../errors.js';
import { BaseHandle, type CallQueue, type CallResult, type RecordsResult, checkCall } from '../base.js';
import type { Addon, Descriptor } from './addon.js';
import { attempt } from './failure.js';
import { forgetOwner, watchOwner } from './unclosed.js';

/** How long the two ends of a Unix socket wait for each other. */
export interface PassingOptions {
  /** Milliseconds for everything together. Default 10,000. The wait holds one thread of the pool. */
  readonly timeoutMs?: number;
}

export const DEFAULT_TIMEOUT_MS = 10_000;

/** An HTAB descriptor of the real kernel. */
export class KvmHandle extends BaseHandle {
  readonly #addon: Addon;
  readonly #descriptor: Descriptor;
  #closed = false;

  /** @param queue the VM's, where the VM is ours: its ALLOCATE and RESIZE may not overlap a read (kernel-abi.md 2.4) */
  constructor(addon: Addon, descriptor: Descriptor, access: 'read' | 'write', queue?: CallQueue) {
    super(access, queue);
    this.#addon = addon;
    this.#descriptor = descriptor;
    watchOwner(this, descriptor, `an HTAB ${access} handle`);
  }

  /**
   * Lends the descriptor to one other process: listens at `socketPath`, where nothing may be yet, until a peer of the
   * same user has connected and taken a duplicate. Both ends then share one cursor.
   *
   * @throws HtabSystemError ETIMEDOUT, or what the socket call said
   */
  async sendTo(socketPath: string, { timeoutMs = DEFAULT_TIMEOUT_MS }: PassingOptions = {}): Promise<void> {
    if (this.#closed) throw new HtabStateError('closed', `the HTAB ${this.access} handle is closed`);
    // Beside the queue: the wait for a peer holds up neither reads nor writes.
    await attempt(
      `send an HTAB descriptor over ${socketPath}`,
      this.#addon.offerDescriptor(this.#descriptor, socketPath, timeoutMs),
    );
  }

  protected readOnce(buffer: Uint8Array): Promise<CallResult> {
    return this.#addon.read(this.#descriptor, buffer);
  }

  protected writeOnce(bytes: Uint8Array): Promise<CallResult> {
    return this.#addon.write(this.#descriptor, bytes);
  }

  /** All records in one trip to the pool: a trip costs 10 to 30 us, and a sparse table has a record per entry. */
  protected override writeEach(bytes: Uint8Array): Promise<RecordsResult> {
    return this.#addon.writeRecords(this.#descriptor, bytes);
  }

  protected async closeOnce(): Promise<void> {
    this.#closed = true;
    forgetOwner(this);
    checkCall(await this.#descriptor.close(), 'close', `close an HTAB ${this.access} handle`);
  }
}
