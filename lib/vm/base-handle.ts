import { checkBytes } from '../base/arguments.js';
import { HtabFormatError, HtabStateError, type RecordPlace } from '../base/errors.js';
import { HEADER_BYTES } from '../records/header.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import { CallQueue } from './call-queue.js';
import { attempt, isCallFailure } from './call-result.js';
import type { HtabHandle } from './contract.js';

const WRITE_RECORD = 'write HPT record';

/** What is the same for every backend's descriptor: order of calls, closing, argument checks, errors. */
export abstract class BaseHandle implements HtabHandle {
  readonly access: 'read' | 'write';
  readonly #queue: CallQueue;
  #closing: Promise<void> | undefined;

  /** @param queue shared by all handles of one VM where the VM's own calls may not overlap theirs */
  protected constructor(access: 'read' | 'write', queue = new CallQueue()) {
    this.access = access;
    this.#queue = queue;
  }

  // A system call that fails throws a CallFailure.
  protected abstract readOnce(buffer: Uint8Array): number | Promise<number>;
  protected abstract writeOnce(bytes: Uint8Array): number | Promise<number>;
  protected abstract closeOnce(): void | Promise<void>;

  /**
   * One write(2) per record.
   *
   * @returns bytes applied: all of them
   * @throws CallFailure with the place of the record refused
   * @throws HtabStateError `lost` if a write took another length than the record's
   * @throws HtabFormatError, with nothing written, if the last record is cut
   */
  protected async writeEach(bytes: Uint8Array): Promise<number> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    checkWholeRecords(view);
    let bytesApplied = 0;
    for (let recordIndex = 0; bytesApplied < view.byteLength; recordIndex++) {
      const place = { ptex: view.getUint32(bytesApplied, true), recordIndex, bytesApplied };
      const length = recordLength(view, bytesApplied);
      const taken = await this.#writeRecord(bytes.subarray(bytesApplied, bytesApplied + length), place);
      if (taken !== length) throw partialWriteError(taken, place);
      bytesApplied += length;
    }
    return bytesApplied;
  }

  async #writeRecord(record: Uint8Array, place: RecordPlace): Promise<number> {
    try {
      return await this.writeOnce(record);
    } catch (error) {
      throw isCallFailure(error) ? Object.assign(error, place) : error;
    }
  }

  read(buffer: Uint8Array): Promise<number> {
    return this.#callWith('buffer', buffer, 'read HPT records', () => this.readOnce(buffer));
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#callWith('bytes', bytes, 'write HPT records', () => this.writeOnce(bytes));
  }

  writeRecords(bytes: Uint8Array): Promise<number> {
    return this.#callWith('bytes', bytes, WRITE_RECORD, () => this.writeEach(bytes));
  }

  close(): Promise<void> {
    this.#closing ??= this.#queue.run(() => this.closeOnce());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Refuses every call from the moment close() is called. */
  protected checkOpen(): void {
    if (this.#closing === undefined) return;
    throw new HtabStateError('closed', `the HTAB ${this.access} handle is closed`);
  }

  /** Runs a call on the caller's bytes in its turn: until then they can be transferred away, which leaves none. */
  async #callWith(
    name: string,
    bytes: Uint8Array,
    operation: string,
    call: () => number | Promise<number>,
  ): Promise<number> {
    checkBytes(name, bytes);
    this.checkOpen();
    const { length } = bytes;
    return this.#queue.run(() => {
      checkBytes(name, bytes, length);
      return attempt(operation, call);
    });
  }
}

/** @throws HtabFormatError if the last record is cut */
function checkWholeRecords(view: DataView): void {
  for (let start = 0, record = 0; start < view.byteLength; record++) {
    const end = start + recordLength(view, start);
    if (end > view.byteLength) throw cutRecordError(view.byteLength, start, record);
    start = end;
  }
}

/** Length of the record at `start`, as far as its header is there. */
function recordLength(view: DataView, start: number): number {
  if (start + HEADER_BYTES > view.byteLength) return HEADER_BYTES;
  return HEADER_BYTES + view.getUint16(start + 4, true) * HPTE_BYTES;
}

/** A write(2) took another length than the record's: it cannot be known what of it was applied. */
export function partialWriteError(bytesTaken: number, place: RecordPlace): HtabStateError {
  return new HtabStateError(
    'lost',
    `${WRITE_RECORD}: write took ${bytesTaken} bytes, not the whole record`,
    place,
  );
}

/** Of `length` bytes, the record at `byteOffset` is not all there. */
export function cutRecordError(length: number, byteOffset: number, recordIndex: number): HtabFormatError {
  return new HtabFormatError(`the last record is truncated: it has only ${length - byteOffset} bytes`, {
    byteOffset,
    recordIndex,
  });
}
