import { Writable } from 'node:stream';
import { invalidValueError } from '../base/arguments.js';
import { type HtabError, HtabStateError, HtabSystemError } from '../base/errors.js';
import { checkOptions, type OptionTable } from '../base/options.js';
import { RecordCursor } from '../records/cursor.js';
import type { HeaderByteOrder } from '../records/header.js';
import { MAX_STREAM_ORDER, MIN_ORDER, checkOrder } from '../hpt/geometry.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { destroyOnAbort } from './abort.js';
import { BATCH_BYTES, RecordBatch } from './record-batch.js';
import { writeExplained } from './refusal.js';
import { streamOrder } from './stream-order.js';
import { TableClaim } from './table-claim.js';
import { checkVmOrHandle, isVm } from './vm-or-handle.js';

/** How a stream of records is taken and checked. */
export interface WriteStreamOptions {
  /** log2 of the table's bytes, 18..36, where a VM does not know it: records beyond the table are refused unwritten. */
  readonly order?: number;
  /** Byte order of the incoming headers; the kernel is given its own. Default `LE`. */
  readonly headerByteOrder?: HeaderByteOrder;
  /** Destroys the stream with its reason, after the write in flight. */
  readonly signal?: AbortSignal | undefined;
}

export const WRITE_STREAM_OPTIONS = {
  order: {
    ...{ min: MIN_ORDER, max: MAX_STREAM_ORDER, unit: 'log2 of bytes' },
    doc: "log2 of the table's bytes, where a VM does not know it: records beyond the table are refused unwritten",
  },
  headerByteOrder: {
    ...{ choices: ['LE', 'BE'], default: 'LE' },
    doc: 'byte order of the incoming record headers; the kernel is given its own',
  },
  signal: { doc: 'destroys the stream with its reason, after the write in flight' },
} as const satisfies OptionTable<WriteStreamOptions>;

/** Writes a byte stream of records into a table; see {@link createWriteStream}. */
export class HtabWriteStream extends Writable {
  readonly #open: () => Promise<HtabHandle>;
  readonly #cursor: RecordCursor;
  readonly #batch = new RecordBatch();
  readonly #vm: HtabVm | undefined;
  readonly #vmOrder: number | undefined;
  #handle: HtabHandle | undefined;
  #claim: TableClaim | undefined;
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
    this.#begin().then(() => {
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
    const closed = closing.finally(() => this.#claim?.release());
    closed.then(
      () => {
        callback(error);
      },
      (failure: unknown) => {
        callback(error ?? (failure as Error));
      },
    );
  }

  async #begin(): Promise<void> {
    if (this.#vm !== undefined) this.#claim = TableClaim.take(this.#vm, 'write', 'createWriteStream');
    this.#handle = await this.#open();
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
      await writeExplained(this.#handle!, bytes);
    } catch (error) {
      if (!(error instanceof HtabSystemError || error instanceof HtabStateError)) throw error;
      throw error.bytesApplied === undefined ? error : this.#inStream(error, error.bytesApplied);
    }
    this.#bytesWritten += batch.streamBytes;
    this.#recordsWritten += batch.recordsEnded;
    batch.clear();
  }

  /** The same error with its place in the stream instead of the batch. */
  #inStream(error: HtabSystemError | HtabStateError, offset: number): HtabError {
    const recordIndex = this.#batch.streamRecord(error.recordIndex ?? 0, offset);
    this.#bytesWritten += this.#batch.streamBytesBefore(offset);
    this.#recordsWritten = recordIndex;
    const bytesApplied = this.#bytesWritten;
    if (error instanceof HtabStateError) {
      const place = { ptex: error.ptex, recordIndex, bytesApplied };
      return new HtabStateError(error.state, 'a record was not written whole', { ...place, cause: error });
    }
    const { ptex, hint } = error;
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
 * - `HtabFormatError` at the first invalid record; `bytesWritten` counts the bytes before it that are in the table
 * - `HtabSystemError` where the kernel refuses an entry: with the `ptex` of that entry, the number of its record in the
 *   stream, the bytes of the stream applied before that record, and the likely cause. Entries of the record before it
 *   are applied, and EIO has removed what the entry held (kernel-abi.md 4.2)
 * - `HtabStateError` `lost`, with the same fields, where a write takes another length than the record's
 * - `HtabStateError` `busy` while another stream writes to the VM's table, or an operation replaces it
 * - `HtabStateError` `order-changed` if the VM's table is replaced by one of another order meanwhile
 *
 * The stream owns its descriptor, also one it is given, and closes it at its end. Destroying it, at any moment, waits
 * for the write in flight; an abort ends it with the signal's own reason.
 *
 * @param target a VM, of which a write descriptor is opened, or an open write handle
 * @throws TypeError, RangeError or HtabUnavailableError at once, for an invalid target or option
 *
 * @example
 * await pipeline(socket, createWriteStream(vm));
 */
export function createWriteStream(
  target: HtabVm | HtabHandle,
  options: WriteStreamOptions = {},
): HtabWriteStream {
  checkVmOrHandle('target', target);
  checkOptions(options, { order: true, headerByteOrder: true, signal: true });
  const { signal, headerByteOrder } = options;
  const vm = isVm(target) ? target : undefined;
  if (options.order !== undefined) checkOrder(options.order, MAX_STREAM_ORDER);
  const order = vm === undefined ? options.order : streamOrder(vm, options.order);
  if (!isVm(target) && target.access !== 'write') {
    throw invalidValueError('The "target" argument must be open for writing');
  }
  const cursor = new RecordCursor({ order, headerByteOrder });
  const open = (): Promise<HtabHandle> =>
    isVm(target) ? target.openHtab({ access: 'write', signal }) : Promise.resolve(target);
  return new HtabWriteStream(open, cursor, vm, signal);
}
