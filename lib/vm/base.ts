import { checkBytes, checkInteger, checkOneOf, checkOptions } from '../arguments.js';
import {
  HtabFormatError,
  HtabStateError,
  HtabSystemError,
  type SystemErrorDetails,
  errnoName,
} from '../errors.js';
import { HEADER_BYTES } from '../format/header.js';
import { HPTE_BYTES, checkOrder } from '../hpt/geometry.js';
import type { BackendName, HtabHandle, HtabVm, OpenHtabOptions } from './contract.js';
import { hintFor } from './hints.js';

/** A system call's own answer: its return value, or minus the errno. */
export type CallResult = number;

/** Outcome of writing whole records, one write(2) each. */
export interface RecordsResult {
  /** Bytes of the records applied, in order from the first. */
  readonly bytesApplied: number;
  /** Records applied; the number of the refused one, if one was. */
  readonly recordsApplied: number;
  /** The refused record's first entry, and what its write(2) returned: minus an errno, or a length not the record's. */
  readonly refusal?: { readonly ptex: number; readonly result: CallResult };
}

/**
 * Runs jobs one after the other. The kernel's HTAB calls take no lock against each other where they should
 * (kernel-abi.md 2.4), so everything that touches one descriptor, or one VM's table, goes through one queue.
 */
export class CallQueue {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(job: () => T | Promise<T>): Promise<T> {
    const result = this.#tail.then(job);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** Turns a call's result into its value, or throws what the kernel said. */
export function checkCall(result: CallResult, syscall: string, operation: string, hint?: string): number {
  if (result >= 0) return result;
  throw systemError(syscall, errnoName(-result), { operation, hint });
}

/** What the kernel said, with what usually stands behind it where the caller knows nothing better. */
export function systemError(syscall: string, name: string, details: SystemErrorDetails): HtabSystemError {
  return new HtabSystemError(syscall, name, { ...details, hint: details.hint ?? hintFor(syscall, name) });
}

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

  protected abstract readOnce(buffer: Uint8Array): CallResult | Promise<CallResult>;
  protected abstract writeOnce(bytes: Uint8Array): CallResult | Promise<CallResult>;
  protected abstract closeOnce(): void | Promise<void>;

  /**
   * One write(2) per record.
   *
   * @throws HtabFormatError, with nothing written, if the last record is cut
   */
  protected async writeEach(bytes: Uint8Array): Promise<RecordsResult> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    checkWholeRecords(view);
    let [bytesApplied, recordsApplied] = [0, 0];
    for (; bytesApplied < view.byteLength; recordsApplied++) {
      const ptex = view.getUint32(bytesApplied, true);
      const length = recordLength(view, bytesApplied);
      const result = await this.writeOnce(bytes.subarray(bytesApplied, bytesApplied + length));
      if (result !== length) return { bytesApplied, recordsApplied, refusal: { ptex, result } };
      bytesApplied += length;
    }
    return { bytesApplied, recordsApplied };
  }

  read(buffer: Uint8Array): Promise<number> {
    return this.#callWith('buffer', buffer, async () =>
      checkCall(await this.readOnce(buffer), 'read', 'read HPT records'),
    );
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#callWith('bytes', bytes, async () =>
      checkCall(await this.writeOnce(bytes), 'write', 'write HPT records'),
    );
  }

  writeRecords(bytes: Uint8Array): Promise<number> {
    return this.#callWith('bytes', bytes, async () => {
      const { bytesApplied, recordsApplied, refusal } = await this.writeEach(bytes);
      if (refusal === undefined) return bytesApplied;
      const { ptex, result } = refusal;
      const place = { ptex, recordIndex: recordsApplied, bytesApplied };
      const operation = 'write HPT record';
      if (result < 0) throw systemError('write', errnoName(-result), { operation, ...place });
      throw new HtabStateError('lost', `${operation}: write took ${result} bytes, not the record's`, place);
    });
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
  async #callWith<T>(name: string, bytes: Uint8Array, job: () => Promise<T>): Promise<T> {
    checkBytes(name, bytes);
    this.checkOpen();
    const { length } = bytes;
    return this.#queue.run(() => {
      checkBytes(name, bytes, length);
      return job();
    });
  }
}

/** What is the same for every backend's VM. */
export abstract class BaseVm implements HtabVm {
  abstract readonly backend: BackendName;
  abstract readonly hptOrder: number | undefined;
  /** Everything that touches this VM's table waits its turn here. */
  protected readonly queue = new CallQueue();
  #closing: Promise<void> | undefined;

  protected abstract allocate(order: number): CallResult | Promise<CallResult>;
  protected abstract prepareResize(order: number): CallResult | Promise<CallResult>;
  protected abstract commitResize(order: number): CallResult | Promise<CallResult>;
  protected abstract open(options: OpenHtabOptions): HtabHandle | Promise<HtabHandle>;
  protected abstract closeOnce(): void | Promise<void>;

  async allocateHpt(order: number): Promise<void> {
    // The kernel frees the live table before it looks at the order, and crashes on 0 (kernel-abi.md 0, trap 5).
    checkOrder(order);
    await this.call(async () =>
      checkCall(await this.allocate(order), 'KVM_PPC_ALLOCATE_HTAB', `allocate an HPT of order ${order}`),
    );
  }

  async prepareHptResize(order: number): Promise<number> {
    checkResizeOrder(order);
    return this.call(async () =>
      checkCall(
        await this.prepareResize(order),
        'KVM_PPC_RESIZE_HPT_PREPARE',
        `prepare an HPT of order ${order}`,
      ),
    );
  }

  async commitHptResize(order: number): Promise<void> {
    checkResizeOrder(order);
    await this.call(async () =>
      checkCall(
        await this.commitResize(order),
        'KVM_PPC_RESIZE_HPT_COMMIT',
        `resize the HPT to order ${order}`,
      ),
    );
  }

  async openHtab(options: OpenHtabOptions = {}): Promise<HtabHandle> {
    checkOptions(options);
    const { access = 'read', startIndex = 0, signal } = options;
    checkOneOf('access', access, ['read', 'write']);
    checkInteger('startIndex', startIndex, 0, Number.MAX_SAFE_INTEGER);
    const handle = await this.call(async () => {
      signal?.throwIfAborted();
      return this.open(options);
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

  /** Runs a call in its turn; refuses it once the VM is closed. */
  protected call<T>(job: () => T | Promise<T>): Promise<T> {
    if (this.#closing !== undefined)
      return Promise.reject(new HtabStateError('closed', `the ${this.backend} VM is closed`));
    return this.queue.run(job);
  }
}

/** Every order that the ioctl can be told is the kernel's to refuse: it changes nothing by that (kernel-abi.md 5). */
function checkResizeOrder(order: number): void {
  checkInteger('order', order, 0, 0xffff_ffff);
}

/** @throws HtabFormatError if the last record is cut */
function checkWholeRecords(view: DataView): void {
  for (let start = 0, record = 0; start < view.byteLength; record++) {
    const end = start + recordLength(view, start);
    if (end > view.byteLength) throw cutRecord(view.byteLength, start, record);
    start = end;
  }
}

/** Length of the record at `start`, as far as its header is there. */
function recordLength(view: DataView, start: number): number {
  if (start + HEADER_BYTES > view.byteLength) return HEADER_BYTES;
  return HEADER_BYTES + view.getUint16(start + 4, true) * HPTE_BYTES;
}

/** Of `length` bytes, the record at `byteOffset` is not all there. */
export function cutRecord(length: number, byteOffset: number, recordIndex: number): HtabFormatError {
  return new HtabFormatError(`the last record is cut: ${length - byteOffset} bytes of it are there`, {
    byteOffset,
    recordIndex,
  });
}
