import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { ControlClient } from '../control-client.js';

/** The memory of a guest in another process: the VMM's memfd, and its dirty log by request. */
export class VmmMemory implements Disposable {
  readonly bytes: number;
  readonly pageBytes: number;
  readonly #vmm: ControlClient;
  readonly #fd: number;

  private constructor(vmm: ControlClient, bytes: number, pageBytes: number, path: string) {
    this.bytes = bytes;
    this.pageBytes = pageBytes;
    this.#vmm = vmm;
    this.#fd = openSync(path, 'r+');
  }

  static async open(vmm: ControlClient): Promise<VmmMemory> {
    const [bytes, pageBytes, pid, fd] = (await vmm.words('memory')).map(Number);
    // Node cannot take a descriptor from a socket, but any process of the VMM's user can open the same file.
    return new VmmMemory(vmm, bytes!, pageBytes!, `/proc/${pid}/fd/${fd}`);
  }

  /** KVM_GET_DIRTY_LOG, which only the VMM may ask for. */
  async dirtyLog(): Promise<Uint8Array> {
    const [bitmap = ''] = await this.#vmm.words('dirty-log');
    return Buffer.from(bitmap, 'hex');
  }

  // Synchronous calls: the memory is never on a disk, and a trip through the thread pool costs more than the copy.
  read(offset: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length;) {
      const bytes = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (bytes === 0) throw new Error(`guest memory ends at ${offset + done} of ${this.bytes} bytes`);
      done += bytes;
    }
    return Promise.resolve();
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, offset + done);
    }
    return Promise.resolve();
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
