import type { VmmMemory } from './agent/vmm-memory.js';

const CHUNK_BYTES = 1 << 20;

/** A copy of a guest's memory that is kept up to date with dirty logs alone. */
export class MemoryCopy {
  /** Pages that logs have named, one by one. */
  pagesCopied = 0;
  readonly #memory: VmmMemory;
  readonly #bytes: Buffer;

  private constructor(memory: VmmMemory) {
    this.#memory = memory;
    this.#bytes = Buffer.alloc(memory.bytes);
  }

  static async of(memory: VmmMemory): Promise<MemoryCopy> {
    const copy = new MemoryCopy(memory);
    await memory.dirtyLog();
    await memory.read(0, copy.#bytes);
    return copy;
  }

  /** Copies the pages of the next dirty log. */
  async takeLog(): Promise<void> {
    await this.take(pagesOf(await this.#memory.dirtyLog()));
  }

  async take(pages: readonly number[]): Promise<void> {
    const { pageBytes } = this.#memory;
    for (const page of pages) {
      const start = page * pageBytes;
      await this.#memory.read(start, this.#bytes.subarray(start, start + pageBytes));
      this.pagesCopied++;
    }
  }

  /** Pages that differ from the guest's, which must be paused. */
  async differences(): Promise<number[]> {
    const { bytes, pageBytes } = this.#memory;
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const pages: number[] = [];
    for (let start = 0; start < bytes; start += CHUNK_BYTES) {
      await this.#memory.read(start, chunk);
      if (chunk.equals(this.#bytes.subarray(start, start + CHUNK_BYTES))) continue;
      for (let at = 0; at < CHUNK_BYTES; at += pageBytes) {
        const ours = this.#bytes.subarray(start + at, start + at + pageBytes);
        if (!chunk.subarray(at, at + pageBytes).equals(ours)) pages.push((start + at) / pageBytes);
      }
    }
    return pages;
  }
}

/** Numbers of the pages whose bits are set: bit n is bit n & 7 of byte n >> 3. */
export function pagesOf(bitmap: Uint8Array): number[] {
  const pages: number[] = [];
  for (const [index, byte] of bitmap.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) pages.push(index * 8 + bit);
  }
  return pages;
}
