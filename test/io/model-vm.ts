import { setImmediate } from 'node:timers/promises';
import { HtabFormatError, HtabStateError, HtabSystemError } from '../../lib/base/errors.js';
import { entryCount } from '../../lib/hpt/geometry.js';
import type { HtabHandle, HtabVm, OpenHtabOptions } from '../../lib/vm/contract.js';
import type { Pair } from './wire-records.js';

/**
 * The read and write rules of kernel-abi.md 2.3, 2.4 and 4.2, entry by entry over a plain Map: a second opinion beside
 * the emulated kernel, with hooks to hold a call in flight, to refuse an entry and to count what is done.
 */
export class ModelVm implements HtabVm {
  readonly backend = 'emulated';
  hptOrder: number | undefined;
  readonly entries = new Map<number, Pair>();
  readonly dirty = new Set<number>();
  readonly handles: ModelHandle[] = [];
  /** Awaited by every read and write before it touches the table. */
  gate: Promise<void> | undefined;
  /** Called at every read with its number, from 0; may throw what the kernel would say. */
  onRead: (call: number) => void = () => undefined;
  /** Entries that the kernel would refuse with EIO, removing what was there (kernel-abi.md 4.2). */
  readonly refused = new Set<number>();
  /** Refuses only the first write of a refused entry. */
  forgiving = false;
  /** Refuses every write with EBUSY, as while a vcpu runs (kernel-abi.md 4.1). */
  running = false;
  /** Fails the next opening of a descriptor. */
  openFailure: Error | undefined;

  constructor(order: number | undefined) {
    this.hptOrder = order;
  }

  get entryCount(): number {
    return this.hptOrder === undefined ? 0 : entryCount(this.hptOrder);
  }

  set(ptex: number, [v, r]: Pair = [1n, BigInt(ptex) << 12n]): void {
    this.entries.set(ptex, [v, r]);
    this.dirty.add(ptex);
  }

  delete(ptex: number): void {
    if (this.entries.delete(ptex)) this.dirty.add(ptex);
  }

  openHtab(options: OpenHtabOptions = {}): Promise<ModelHandle> {
    if (this.openFailure !== undefined) return Promise.reject(this.openFailure);
    const handle = new ModelHandle(this, options.access ?? 'read', options.startIndex ?? 0);
    this.handles.push(handle);
    return Promise.resolve(handle);
  }

  allocateHpt(order: number): Promise<void> {
    this.hptOrder = order;
    this.entries.clear();
    this.dirty.clear();
    return Promise.resolve();
  }

  prepareHptResize(): Promise<number> {
    return Promise.reject(new Error('not in the model'));
  }

  commitHptResize(): Promise<void> {
    return Promise.reject(new Error('not in the model'));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export class ModelHandle implements HtabHandle {
  readonly access: 'read' | 'write';
  readonly #vm: ModelVm;
  #cursor: number;
  #firstPass = true;
  #tail: Promise<unknown> = Promise.resolve();
  readonly buffers = new Set<ArrayBufferLike>();
  reads = 0;
  writes = 0;
  /** Calls of writeRecords. */
  jobs = 0;
  inFlight = 0;
  closed = false;
  #closing = false;

  constructor(vm: ModelVm, access: 'read' | 'write', startIndex: number) {
    this.#vm = vm;
    this.access = access;
    this.#cursor = startIndex;
  }

  read(buffer: Uint8Array): Promise<number> {
    return this.#run(() => {
      this.buffers.add(buffer.buffer);
      this.#vm.onRead(this.reads++);
      return this.#read(buffer);
    });
  }

  write(): Promise<number> {
    return Promise.reject(new Error('not in the model'));
  }

  writeRecords(bytes: Uint8Array): Promise<number> {
    return this.#run(() => {
      this.jobs++;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let offset = 0, record = 0; offset < bytes.length; record++) {
        const ptex = view.getUint32(offset, true);
        const length = 8 + 16 * view.getUint16(offset + 4, true);
        if (offset + length > bytes.length) {
          throw new HtabFormatError('cut', { byteOffset: offset, recordIndex: record });
        }
        this.writes++;
        const errnoName = this.#write(new DataView(bytes.buffer, bytes.byteOffset + offset, length));
        if (errnoName !== undefined) {
          throw new HtabSystemError('write', errnoName, {
            operation: 'write HPT record',
            ptex,
            recordIndex: record,
            bytesApplied: offset,
          });
        }
        offset += length;
      }
      return bytes.length;
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#tail;
    this.closed = true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A real descriptor's calls end in a later turn of the event loop. */
  #run(call: () => number): Promise<number> {
    if (this.#closing) return Promise.reject(new HtabStateError('closed', 'the handle is closed'));
    const result = this.#tail.then(async () => {
      this.inFlight++;
      try {
        await setImmediate();
        await this.#vm.gate;
        return call();
      } finally {
        this.inFlight--;
      }
    });
    this.#tail = result.catch(() => undefined);
    return result;
  }

  #read(buffer: Uint8Array): number {
    const { entries, dirty, entryCount } = this.#vm;
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    const firstPass = this.#firstPass;
    let i = this.#cursor;
    let bytes = 0;
    while (bytes + 24 < buffer.length) {
      while (!firstPass && i < entryCount && !dirty.has(i)) i++;
      const index = i;
      let at = bytes + 8;
      let validCount = 0;
      let invalidCount = 0;
      const takes = (): boolean => i < entryCount && (firstPass || dirty.has(i));
      while (takes() && validCount < 65_535 && at + 16 < buffer.length && entries.has(i)) {
        const [v, r] = entries.get(i)!;
        view.setBigUint64(at, v);
        view.setBigUint64(at + 8, r);
        at += 16;
        validCount++;
        dirty.delete(i++);
      }
      while (takes() && invalidCount < 65_535 && !entries.has(i)) {
        invalidCount++;
        dirty.delete(i++);
      }
      if (validCount + invalidCount > 0) {
        view.setUint32(bytes, index, true);
        view.setUint16(bytes + 4, validCount, true);
        view.setUint16(bytes + 6, invalidCount, true);
        bytes = at;
      }
      if (i >= entryCount) {
        i = 0;
        this.#firstPass = false;
        break;
      }
    }
    this.#cursor = i;
    return bytes;
  }

  /** One write(2) of one record; the errno's name if the kernel refuses it. */
  #write(record: DataView): string | undefined {
    const { entryCount, refused, running } = this.#vm;
    if (running) return 'EBUSY';
    const index = record.getUint32(0, true);
    const validCount = record.getUint16(4, true);
    const end = index + validCount + record.getUint16(6, true);
    if (index >= entryCount || end > entryCount) return 'EINVAL';
    for (let k = 0; k < validCount; k++) {
      this.#vm.delete(index + k);
      if (refused.has(index + k)) {
        if (this.#vm.forgiving) refused.delete(index + k);
        return 'EIO';
      }
      this.#vm.set(index + k, [record.getBigUint64(8 + 16 * k), record.getBigUint64(16 + 16 * k)]);
    }
    for (let ptex = index + validCount; ptex < end; ptex++) this.#vm.delete(ptex);
    return undefined;
  }
}
