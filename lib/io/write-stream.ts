import { Writable } from 'node:stream';
import { checkOptions, invalidValue } from '../arguments.js';
import { type HtabError, HtabStateError, HtabSystemError } from '../errors.js';
import { RecordCursor } from '../format/cursor.js';
import type { HeaderByteOrder } from '../format/header.js';
import { MAX_STREAM_ORDER, checkOrder } from '../hpt/geometry.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { destroyOnAbort } from './abort.js';
import { BATCH_BYTES, RecordBatch } from './record-batch.js';
import { explainRefusal } from './refusal.js';
import { streamOrder } from './stream-order.js';
import { checkVmOrHandle, isVm } from './vm-or-handle.js';

/** How a stream of records is taken and checked. */
export interface WriteStreamOptions {
  /** log2 of the table's bytes, 18..36, where a VM does not tell: records beyond the table are refused unwritten. */
  readonly order?: number;
  /** Byte order of the incoming headers; the kernel is given its own. Default `LE`. */
  readonly headerByteOrder?: HeaderByteOrder;
  /** Destroys the stream with its reason, after the write in flight. */
  readonly signal?: AbortSignal | undefined;
}

/** Writes a byte stream of records into a table; see {@link createWriteStream}. */
export class HtabWriteStream extends Writable {
  readonly #open: () => Promise<HtabHandle>;
  readonly #cursor: RecordCursor;
  readonly #batch = new RecordBatch();
  readonly #vm: HtabVm | undefined;
  readonly #vmOrder: number | undefined;
  #handle: HtabHandle | undefined;
  #bytesWritten = 0;
  #recordsWritten = 0;

  /** @internal */
  constructor(
    open: () => Promise<HtabHandle>,
    cursor: RecordCursor,
    vm: HtabVm | undefined,
    signal?: AbortSignal,
  ) {
    // What queues up while a batch is written is the next batch.
    super({ highWaterMark: BATCH_BYTES });
    this.#open = open;
    this.#cursor = cursor;
    this.#vm = vm;
    this.#vmOrder = vm?.hptOrder;
    destroyOnAbort(this, signal);
  }

  /** Bytes of the stream that are in the table. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Records of the stream that are in the table, whole. */
  get recordsWritten(): number {
    return this.#recordsWritten;
  }

  override _construct(callback: (error?: Error | null) => void): void {
    this.#open().then((handle) => {
      this.#handle = handle;
      callback();
    }, callback);
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#apply([chunk]).then(() => {
      callback();
    }, callback);
  }

  override _writev(chunks: { chunk: Uint8Array }[], callback: (error?: Error | null) => void): void {
    this.#apply(chunks.map(({ chunk }) => chunk)).then(() => {
      callback();
    }, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    try {
      this.#cursor.finish();
      this.#checkOrder();
      callback();
    } catch (error) {
      callback(error as Error);
    }
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const closing = this.#handle?.close() ?? Promise.resolve();
    closing.then(
      () => {
        callback(error);
      },
      (failure: unknown) => {
        callback(error ?? (failure as Error));
      },
    );
  }

  async #apply(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      this.#cursor.push(chunk);
      while (this.#cursor.next()) {
        if (this.#batch.append(this.#cursor)) continue;
        await this.#flush();
        this.#batch.append(this.#cursor);
      }
    }
    await this.#flush();
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    const { bytes } = batch;
    if (bytes.length === 0) return;
    this.#checkOrder();
    try {
      await this.#handle!.writeRecords(bytes);
    } catch (error) {
      if (!(error instanceof HtabSystemError || error instanceof HtabStateError)) throw error;
      throw error.bytesApplied === undefined ? error : await this.#explain(error, error.bytesApplied);
    }
    this.#bytesWritten += batch.streamBytes;
    this.#recordsWritten += batch.recordsEnded;
    batch.clear();
  }

  /** The error with the entry refused, the likely cause, and its place in the stream instead of the batch. */
  async #explain(error: HtabSystemError | HtabStateError, offset: number): Promise<HtabError> {
    const recordIndex = this.#batch.streamRecord(error.recordIndex ?? 0, offset);
    this.#bytesWritten += this.#batch.streamBytesBefore(offset);
    this.#recordsWritten = recordIndex;
    const bytesApplied = this.#bytesWritten;
    if (error instanceof HtabStateError) {
      const place = { ptex: error.ptex, recordIndex, bytesApplied };
      return new HtabStateError(error.state, 'a record was not written whole', { ...place, cause: error });
    }
    const { ptex, hint } = await explainRefusal(this.#handle!, this.#batch.bytes, error);
    return new HtabSystemError(error.syscall, error.errnoName, {
      operation: error.operation,
      ptex,
      recordIndex,
      bytesApplied,
      hint,
      cause: error,
    });
  }

  #checkOrder(): void {
    if (this.#vm === undefined || this.#vm.hptOrder === this.#vmOrder) return;
    throw new HtabStateError(
      'order-changed',
      `the order of the table changed from ${this.#vmOrder ?? 'none'} to ${this.#vm.hptOrder ?? 'none'} while it was ` +
        `written: what had been written is gone`,
    );
  }
}

/**
 * Writes a byte stream of records into a table. The bytes may come cut anywhere; a record cut by the end of a chunk is
 * written in parts, which means the same, and no more than 23 bytes are kept between chunks.
 *
 * Every record is checked before it is written: its range where the order is known, and each entry's valid bit,
 * segment code and page-size code. Records go to the kernel one per write(2), as it demands (kernel-abi.md 0, trap 1),
 * up to 1 MiB of them in one job.
 *
 * Fails with
 * - `HtabFormatError` at the first record that cannot be; `bytesWritten` says how much before it is in the table
 * - `HtabSystemError` where the kernel refuses an entry: with the `ptex` of that entry, the number of its record in the
 *   stream, the bytes of the stream applied before that record, and the likely cause. Entries of the record before it
 *   are applied, and EIO has removed what the entry held (kernel-abi.md 4.2)
 * - `HtabStateError` `lost`, with the same fields, where a write takes another length than the record's
 * - `HtabStateError` `order-changed` if the VM's table is replaced by one of another order meanwhile
 *
 * The stream owns its descriptor, also one it is given, and closes it at its end. Destroying it, at any moment, waits
 * for the write in flight; an abort ends it with the signal's own reason.
 *
 * @param target a VM, of which a write descriptor is opened, or an open write handle
 * @throws TypeError, RangeError or HtabUnavailableError at once, for a target or options that cannot be
 */
export function createWriteStream(
  target: HtabVm | HtabHandle,
  options: WriteStreamOptions = {},
): HtabWriteStream {
  checkVmOrHandle('target', target);
  checkOptions(options);
  const { signal, headerByteOrder } = options;
  const vm = isVm(target) ? target : undefined;
  if (options.order !== undefined) checkOrder(options.order, MAX_STREAM_ORDER);
  const order = vm === undefined ? options.order : streamOrder(vm, options.order);
  if (!isVm(target) && target.access !== 'write') {
    throw invalidValue('The "target" argument must be open for writing');
  }
  const cursor = new RecordCursor({ order, headerByteOrder });
  const open = (): Promise<HtabHandle> =>
    isVm(target) ? target.openHtab({ access: 'write', signal }) : Promise.resolve(target);
  return new HtabWriteStream(open, cursor, vm, signal);
}
