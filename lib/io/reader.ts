import { checkInteger, checkOptions, invalidValue, invalidType } from '../arguments.js';
import { HtabStateError, HtabUnavailableError } from '../errors.js';
import { MAX_STREAM_ORDER, checkOrder, entryCount } from '../hpt/geometry.js';
import type { HtabHandle, HtabVm, OpenHtabOptions } from '../vm/contract.js';
import { chunkExtent } from './chunk.js';
import { isHandle, isVm } from './vm-or-handle.js';
import { streamOrder } from './stream-order.js';

/** Bytes one read may fill if the caller does not say: larger buffers gain little and fall out of the caches. */
const DEFAULT_BUFFER_BYTES = 1 << 20;
/** Into 24 bytes and less the kernel reads nothing, and that looks like a quiet table (kernel-abi.md 2.4). */
const MIN_BUFFER_BYTES = 25;
const MAX_BUFFER_BYTES = 1 << 30;
/** One in the caller's hands, one waiting in a stream's queue, one that is read into. */
const BUFFERS = 3;
/** A read that leaves more than this much room has come to the table's end (kernel-abi.md 2.4). */
const RECORD_FLOOR = 24;

/** How an {@link HptReader} reads. */
export interface HptReaderOptions {
  /**
   * log2 of the table's bytes, 18..36, where it is known. Without it the end of a pass that just fills a buffer shows
   * only in the read after it; that read's chunk is kept for the next pass.
   */
  readonly order?: number | undefined;
  /** Bytes one read may fill, 25..2^30; default 1 MiB. */
  readonly bufferBytes?: number | undefined;
  /** False: every chunk is the caller's to keep. Default true: a few buffers take turns. */
  readonly recycle?: boolean | undefined;
}

/** How {@link HptReader.open} opens the descriptor. */
export interface OpenReaderOptions extends HptReaderOptions, Omit<OpenHtabOptions, 'access'> {
  /**
   * Allow another reader on this VM. Readers take changes away from each other (kernel-abi.md 2.2, trap 8): each
   * change is reported to one of them, and read-ahead can hold an older state back until after another's newer one.
   */
  readonly shared?: boolean;
}

/** A read under way, or done and not handed out. */
interface PendingRead {
  readonly buffer: Uint8Array;
  readonly bytes: Promise<number>;
}

/** Open readers per VM of this process. */
const readerCounts = new WeakMap<HtabVm, number>();

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
 * What it cannot tell: a table replaced by another of the same order shows no sign; reopen readers around it. And of a
 * descriptor that was given to it, it does not know whether it has been read before: a guest without a table, or with
 * radix, reads 0 for ever, as a quiet table does (kernel-abi.md 2.3).
 */
export class HptReader implements AsyncDisposable {
  readonly #handle: HtabHandle;
  readonly #entryCount: number | undefined;
  readonly #bufferBytes: number;
  readonly #recycle: boolean;
  /** The buffers that take turns; undefined before first use, or when given away. */
  readonly #buffers = new Array<Uint8Array | undefined>(BUFFERS);
  #turn = 0;

  #vm: HtabVm | undefined;
  #vmOrder: number | undefined;

  /** What the descriptor has been asked for and no pass has handed out: reading takes marks away, so it is never dropped. */
  #ahead: PendingRead | undefined;
  /** ptex at which the read to be handed out next began; undefined while a descriptor given to us has not wrapped. */
  #position: number | undefined;
  /** The first read of a fresh descriptor names every entry of a table, valid or not, if there is one. */
  #expectsTable = false;
  #quiescent = false;
  #passes = 0;
  #inPass = false;
  #failure: HtabStateError | HtabUnavailableError | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens a read descriptor on a VM of ours. The order of its table is checked at every chunk: a change fails the pass
   * with `order-changed`, so that no pass mixes two tables.
   *
   * @throws HtabStateError `busy` if the VM has an open reader, unless `shared`
   * @throws HtabUnavailableError `unsupported` if the table's order is above 36
   * @throws TypeError for what is no VM
   * @throws RangeError for options out of range, or an `order` that is not the VM's
   */
  static async open(vm: HtabVm, options: OpenReaderOptions = {}): Promise<HptReader> {
    if (!isVm(vm)) throw invalidType('vm', 'an HtabVm (of a handle: new HptReader(handle))', vm);
    checkOptions(options);
    const { shared = false, order: given, bufferBytes, recycle, ...htab } = options;
    const vmOrder = vm.hptOrder;
    const order = streamOrder(vm, given);
    checkReaderOptions(options);
    const readers = readerCounts.get(vm) ?? 0;
    if (readers > 0 && !shared) {
      throw new HtabStateError(
        'busy',
        'the VM has an open reader, and two would take changes away from each other; close it, or say shared: true',
      );
    }
    readerCounts.set(vm, readers + 1);
    try {
      const handle = await vm.openHtab({ ...htab, access: 'read' });
      const reader = new HptReader(handle, { order, bufferBytes, recycle });
      reader.#vm = vm;
      reader.#vmOrder = vmOrder;
      reader.#position = options.startIndex ?? 0;
      reader.#expectsTable = reader.#position === 0;
      return reader;
    } catch (error) {
      releaseReader(vm);
      throw error;
    }
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
      throw invalidType('handle', 'an HtabHandle (of a VM: HptReader.open(vm))', handle);
    }
    if (handle.access !== 'read') {
      throw invalidValue('The "handle" argument must be open for reading');
    }
    checkOptions(options);
    checkReaderOptions(options);
    this.#handle = handle;
    this.#entryCount = options.order === undefined ? undefined : entryCount(options.order);
    this.#bufferBytes = options.bufferBytes ?? DEFAULT_BUFFER_BYTES;
    this.#recycle = options.recycle ?? true;
  }

  /** True if the last read began at index 0 and found nothing: nothing had changed anywhere when it ran. */
  get quiescent(): boolean {
    return this.#quiescent;
  }

  /** Passes that have come to the end of the table. */
  get passes(): number {
    return this.#passes;
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
   *   has them again
   * @throws HtabStateError `order-changed` if the table is not the one the reader was opened on
   * @throws HtabUnavailableError `no-table` if a descriptor of our own gives nothing at first: the guest has none, or uses radix
   * @throws HtabStateError `busy` while another pass of this reader runs, `closed` after {@link close}
   */
  async *pass(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    checkOptions(options);
    // First: a pass that was abandoned without an end is under way for ever.
    if (this.#closed !== undefined) throw closedError();
    if (this.#inPass) throw new HtabStateError('busy', 'a pass of this reader is under way');
    this.#inPass = true;
    try {
      const before = this.#passes;
      do {
        const chunk = await this.#nextChunk(options.signal);
        if (chunk !== undefined) yield chunk;
      } while (this.#passes === before);
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
      if (this.#vm !== undefined) releaseReader(this.#vm);
    }
  }

  /** One read's records; undefined if this pass has no more. Counts the pass when the table's end is reached. */
  async #nextChunk(signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    this.#checkUsable();
    const read = (this.#ahead ??= this.#startRead());
    const length = await read.bytes.catch((cause: unknown) => {
      throw this.#closed === undefined ? this.#lose(cause) : closedError();
    });
    this.#checkUsable();
    signal?.throwIfAborted();

    if (length === 0) {
      if (this.#expectsTable) throw this.#noTable();
      this.#ahead = undefined;
      this.#quiescent = this.#position === 0;
      this.#endPass();
      return undefined;
    }
    this.#expectsTable = false;
    const { first, end } = this.#extentOf(read.buffer, length);
    if (this.#position !== undefined && first < this.#position) {
      // The last read had ended at the table's end. This chunk is the next pass's, and stays ahead for it.
      this.#endPass();
      return undefined;
    }
    this.#ahead = undefined;
    this.#quiescent = false;
    if (length + RECORD_FLOOR < read.buffer.length || end === this.#entryCount) {
      this.#endPass();
    } else {
      this.#position = end;
      this.#ahead = this.#startRead();
    }
    return this.#handOut(read.buffer, length);
  }

  #endPass(): void {
    this.#position = 0;
    this.#passes++;
  }

  #startRead(): PendingRead {
    this.#turn = (this.#turn + 1) % BUFFERS;
    let buffer = this.#buffers[this.#turn];
    // A caller that transferred a chunk to another thread has left an empty buffer, into which reads would give 0.
    if (buffer?.length !== this.#bufferBytes) {
      buffer = new Uint8Array(this.#bufferBytes);
      this.#buffers[this.#turn] = buffer;
    }
    const bytes = this.#handle.read(buffer);
    // Failures are seen when the pass gets here; until then, or for ever if it is left, nobody listens.
    bytes.catch(() => undefined);
    return { buffer, bytes };
  }

  #handOut(buffer: Uint8Array, length: number): Uint8Array {
    if (this.#recycle) return buffer.subarray(0, length);
    // A few changes should not keep a whole buffer alive.
    if (length <= buffer.length / 2) return buffer.slice(0, length);
    this.#buffers[this.#buffers.indexOf(buffer)] = undefined;
    return buffer.subarray(0, length);
  }

  #extentOf(buffer: Uint8Array, length: number): { first: number; end: number } {
    let extent;
    try {
      extent = chunkExtent(buffer, length);
    } catch (cause) {
      throw this.#lose(cause);
    }
    const { first, end } = extent;
    if (this.#entryCount === undefined) return extent;
    if (end > this.#entryCount) {
      throw this.#orderChanged(`a record ends at ptex ${end} of a table with ${this.#entryCount} entries`);
    }
    if (this.#position !== undefined && first < this.#position) {
      throw this.#orderChanged(`a record at ptex ${first} follows ptex ${this.#position} within one pass`);
    }
    return extent;
  }

  #checkUsable(): void {
    if (this.#closed !== undefined) throw closedError();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#vm !== undefined && this.#vm.hptOrder !== this.#vmOrder) {
      throw this.#orderChanged(`it was ${this.#vmOrder ?? 'none'} and is ${this.#vm.hptOrder ?? 'none'}`);
    }
  }

  #lose(cause: unknown): HtabStateError {
    return (this.#failure = new HtabStateError(
      'lost',
      'a read failed, and the changes it had taken are gone; open a new reader and begin with its first pass',
      { cause },
    ));
  }

  #noTable(): HtabUnavailableError {
    return (this.#failure = new HtabUnavailableError(
      'no-table',
      'the guest has no hashed page table: it uses radix, or has not been given one yet',
      'there is nothing to read; of a radix guest nothing but its memory has to be moved',
    ));
  }

  #orderChanged(sign: string): HtabStateError {
    return (this.#failure = new HtabStateError(
      'order-changed',
      `the order of the table changed under its reader: ${sign}; open a new reader and begin with its first pass`,
    ));
  }
}

/**
 * @internal
 * @throws RangeError for an order the stream cannot address, or a buffer the kernel would not fill
 */
export function checkReaderOptions({ order, bufferBytes }: HptReaderOptions): void {
  if (order !== undefined) checkOrder(order, MAX_STREAM_ORDER);
  if (bufferBytes !== undefined) checkInteger('bufferBytes', bufferBytes, MIN_BUFFER_BYTES, MAX_BUFFER_BYTES);
}

function releaseReader(vm: HtabVm): void {
  readerCounts.set(vm, readerCounts.get(vm)! - 1);
}

function closedError(): HtabStateError {
  return new HtabStateError('closed', 'the reader is closed');
}
