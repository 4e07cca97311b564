import type { VmmMemory } from './vmm-memory.js';

/**
 * Guest memory on a host whose dirty log cannot be trusted: on POWER8 the kernel loses the page of an entry that the guest
 * removes, or whose C it clears, before the log is taken (kernel-abi.md 3.3). It keeps what was read last; once the guest
 * stands still, the log has every page that has become another one. For large guests keep a digest of each page instead.
 */
export class ComparedMemory {
  readonly bytes: number;
  readonly pageBytes: number;
  /** The guest stands still: logs are whole. */
  isStill = false;
  readonly #memory: VmmMemory;
  readonly #lastRead: Buffer;
  #compareMs = 0;

  constructor(memory: VmmMemory) {
    this.bytes = memory.bytes;
    this.pageBytes = memory.pageBytes;
    this.#memory = memory;
    this.#lastRead = Buffer.alloc(memory.bytes);
  }

  /** How long the comparison makes the guest stand still, as it took the last time. */
  async compareMs(): Promise<number> {
    if (this.#compareMs === 0) await this.#addMissing(new Uint8Array(this.bytes / this.pageBytes / 8));
    return this.#compareMs;
  }

  async dirtyLog(): Promise<Uint8Array> {
    const log = await this.#memory.dirtyLog();
    if (this.isStill) await this.#addMissing(log);
    return log;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    await this.#memory.read(offset, into);
    this.#lastRead.set(into, offset);
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#memory.write(offset, bytes);
  }

  async #addMissing(log: Uint8Array): Promise<void> {
    const begun = performance.now();
    const page = Buffer.alloc(this.pageBytes);
    for (let number = 0; number < this.bytes / this.pageBytes; number++) {
      const start = number * this.pageBytes;
      await this.#memory.read(start, page);
      if (!page.equals(this.#lastRead.subarray(start, start + this.pageBytes)))
        log[number >> 3]! |= 1 << (number & 7);
    }
    this.#compareMs = performance.now() - begun;
  }
}
