import { invalidValueError, invalidTypeError } from '../base/arguments.js';
import { HtabStateError } from '../base/errors.js';
import { checkOptions, numbersOf } from '../base/options.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { noTableError } from '../base/no-table.js';
import { lostChangesError, otherOrderError } from './other-table.js';
import { PassPosition, type PassStep } from './pass-position.js';
import { ReadBuffers } from './read-buffers.js';
import {
  OPEN_READER_OPTIONS,
  READER_OPTIONS,
  type HptReaderOptions,
  type OpenReaderOptions,
} from './reader-options.js';
import { isHandle, isVm } from './vm-or-handle.js';
import { streamOrder } from './stream-order.js';
import { TableClaim } from './table-claim.js';

export type { HptReaderOptions, OpenReaderOptions } from './reader-options.js';

/** A read under way, or done and not handed out. */
interface PendingRead {
  readonly buffer: Uint8Array;
  readonly bytes: Promise<number>;
}

/**
 * Reads a table pass by pass: a pass is one walk from where the descriptor stands to the end of the table. The first
 * gives every entry, later ones what has changed since.
 *
 * ```ts
 * await using reader = await HptReader.open(vm);
 * do {
 *   for await (const chunk of reader.pass()) use(chunk);
 * } while (!reader.quiescent);
 * ```
 *
 * The reader owns its descriptor and closes it. A read may take seconds inside the kernel (a huge quiet table is one
 * uninterruptible scan): {@link close} and an aborted pass wait for it.
 *
 * It cannot notice a table replaced by another of the same order, nor by a smaller one after the first
 * pass; reopen readers around it. And of a descriptor that was given to it, it does not know whether it has been read
 * before: a guest without a table, or with radix, reads 0 for ever, as a quiet table does (kernel-abi.md 2.3). What claims
 * that a table was moved or saved looks at it through another descriptor first.
 *
 * @example
 * await using reader = await HptReader.open(vm);
 * for await (const chunk of reader.pass()) cursor.push(chunk); // everything; the next pass gives what has changed
 */
export class HptReader implements AsyncDisposable {
  readonly #handle: HtabHandle;
  readonly #order: number | undefined;
  readonly #buffers: ReadBuffers;

  #vm: HtabVm | undefined;
  #claim: TableClaim | undefined;
  #vmOrder: number | undefined;

  /** What the descriptor has been asked for and no pass has handed out: reading takes marks away, so it is never dropped. */
  #ahead: PendingRead | undefined;
  #position: PassPosition;
  #inPass = false;
  #failure: Error | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens a read descriptor on a VM of ours. The order of its table is checked at every chunk: a change fails the pass
   * with `order-changed`, so that no pass mixes two tables.
   *
   * @throws HtabStateError `busy` if the VM has an open reader, unless `shared`; or while its table is replaced, as by
   *   `resizeHpt`, `receiveHpt` and `loadSnapshot`
   * @throws HtabUnavailableError `unsupported` if the table's order is above 36
   * @throws TypeError for what is no VM
   * @throws RangeError for options out of range, or an `order` that is not the VM's
   */
  static async open(vm: HtabVm, options: OpenReaderOptions = {}): Promise<HptReader> {
    if (!isVm(vm)) throw invalidTypeError('vm', 'an HtabVm (of a handle: new HptReader(handle))', vm);
    checkOptions(options, OPEN_READER_OPTIONS);
    const { shared = false, ...rest } = options;
    streamOrder(vm, options.order);
    numbersOf(READER_OPTIONS, options);
    const claim = TableClaim.take(vm, shared ? 'shared read' : 'read', 'an HptReader');
    try {
      const reader = await HptReader.openClaimed(vm, rest);
      reader.#claim = claim;
      return reader;
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  /** @internal As {@link open}, for an operation that holds a claim on the table. */
  static async openClaimed(vm: HtabVm, options: Omit<OpenReaderOptions, 'shared'> = {}): Promise<HptReader> {
    const { order: given, bufferBytes, recycle, ...htab } = options;
    const vmOrder = vm.hptOrder;
    const order = streamOrder(vm, given);
    const handle = await vm.openHtab({ ...htab, access: 'read' });
    const reader = new HptReader(handle, { order, bufferBytes, recycle });
    reader.#vm = vm;
    reader.#vmOrder = vmOrder;
    reader.#position = new PassPosition(order, options.startIndex ?? 0);
    return reader;
  }

  /**
   * Takes over a read descriptor, such as one received from a VMM; {@link close} closes it. A descriptor that has been
   * read before goes on from where it stands: only a fresh one gives the whole table.
   *
   * @throws TypeError for what is no handle, or one that is not open for reading
   * @throws RangeError for options out of range
   */
  constructor(handle: HtabHandle, options: HptReaderOptions = {}) {
    if (!isHandle(handle)) {
      throw invalidTypeError('handle', 'an HtabHandle (of a VM: HptReader.open(vm))', handle);
    }
    if (handle.access !== 'read') {
      throw invalidValueError('The "handle" argument must be open for reading');
    }
    checkOptions(options, READER_OPTIONS);
    const { order, bufferBytes } = numbersOf(READER_OPTIONS, options);
    this.#handle = handle;
    this.#order = order;
    this.#position = new PassPosition(order);
    this.#buffers = new ReadBuffers(handle, bufferBytes, options.recycle ?? READER_OPTIONS.recycle.default);
  }

  /** True if the last read began at index 0 and found nothing: nothing had changed anywhere when it ran. */
  get quiescent(): boolean {
    return this.#position.quiescent;
  }

  /** Passes that have reached the end of the table. */
  get passes(): number {
    return this.#position.passes;
  }

  /**
   * Walks from where the descriptor stands to the end of the table, in chunks of whole records.
   *
   * A chunk's bytes are valid until the next one is asked for (see `recycle`). The next read runs meanwhile, but never
   * past the end of a known pass: a pass begins when it is asked for. One that is left early (`break`, an abort) loses
   * nothing but the chunk in hand: the next call goes on where it stopped, with what had been read ahead.
   *
   * @param options.signal rejects with its reason, after the read in flight; what that read gave is kept
   * @throws HtabStateError `lost` if a read failed: changes it had taken are gone, and only a new reader's first pass
   *   has them again; `in-use` if the handle says so, as a {@link guardedHandle} does
   * @throws HtabStateError `order-changed` if the table does not have the order that the reader was opened with
   * @throws HtabUnavailableError `no-table` if a descriptor of our own gives nothing at first, or the VM has lost its table:
   *   the guest has none, or uses radix
   * @throws HtabStateError `busy` while another pass of this reader runs, `closed` after {@link close}
   */
  async *pass(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    checkOptions(options, { signal: true });
    // First: a pass that was abandoned without an end is under way for ever.
    if (this.#closed !== undefined) throw closedError();
    if (this.#inPass) throw new HtabStateError('busy', 'a pass of this reader is under way');
    this.#inPass = true;
    try {
      const before = this.passes;
      do {
        const chunk = await this.#nextChunk(options.signal);
        if (chunk !== undefined) yield chunk;
      } while (this.passes === before);
    } finally {
      this.#inPass = false;
    }
  }

  /** Waits for a read in flight, then closes the descriptor; a pass under way fails with `closed`. Idempotent. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    try {
      await this.#handle.close();
    } finally {
      this.#claim?.release();
    }
  }

  /** One read's records; undefined if this pass has no more. Counts the pass when the table's end is reached. */
  async #nextChunk(signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    this.#checkUsable();
    const read = (this.#ahead ??= this.#startRead());
    const length = await read.bytes.catch((cause: unknown) => {
      throw this.#closed === undefined ? (this.#failure = lostChangesError(cause)) : closedError();
    });
    this.#checkUsable();
    signal?.throwIfAborted();

    let step: PassStep;
    try {
      step = this.#position.take(read.buffer, length);
    } catch (error) {
      throw (this.#failure = error as Error);
    }
    // A chunk of the next pass stays ahead for it.
    if (step === 'next') return undefined;
    this.#ahead = step === 'part' ? this.#startRead() : undefined;
    return length === 0 ? undefined : this.#buffers.handOut(read.buffer, length);
  }

  #startRead(): PendingRead {
    const buffer = this.#buffers.next();
    const bytes = this.#handle.read(buffer);
    // The pass sees a failure when it gets here; until then, or for ever if it is left, no other handler is attached.
    bytes.catch(() => undefined);
    return { buffer, bytes };
  }

  #checkUsable(): void {
    if (this.#closed !== undefined) throw closedError();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#vm === undefined || this.#vm.hptOrder === this.#vmOrder) return;
    const { hptOrder } = this.#vm;
    throw (this.#failure =
      hptOrder === undefined
        ? noTableError()
        : otherOrderError(this.#order, `the VM's table has order ${hptOrder}`));
  }
}

function closedError(): HtabStateError {
  return new HtabStateError('closed', 'the reader is closed');
}
