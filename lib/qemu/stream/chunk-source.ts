import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { HtabFormatError } from '../../base/errors.js';
import { systemCall } from '../../base/system-call.js';
import { tryBriefly, within } from '../../base/time.js';

const CHUNK_BYTES = 1 << 18;

/** Bytes that come one chunk at a time. */
export interface ChunkSource extends AsyncDisposable {
  /** Bytes in all; undefined where only the end tells. */
  readonly size: number | undefined;
  /** The next chunk, untouched until the call after the next; undefined at the end. */
  next(): Promise<Uint8Array | undefined>;
  /**
   * Passes over bytes without reading them, as far as the source can.
   *
   * @returns how many
   */
  skip(count: number): number;
}

/**
 * Opens a file to be read from its beginning.
 *
 * @throws HtabSystemError if it cannot be opened
 * @throws HtabFormatError unless it is a regular file
 */
export async function openFile(path: string, signal: AbortSignal | undefined): Promise<ChunkSource> {
  const operation = `read ${path}`;
  // Without O_NONBLOCK, opening a FIFO would wait for a writer, and hold a thread of the pool.
  const file = await systemCall(operation, open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  try {
    const stats = await systemCall(operation, file.stat());
    if (stats.isFile()) return new FileChunks(file, stats.size, operation, signal);
    throw new HtabFormatError(`${path} is not a regular file`, { byteOffset: 0, recordIndex: 0 });
  } catch (error) {
    await file.close();
    throw error;
  }
}

class FileChunks implements ChunkSource {
  readonly size: number;
  readonly #file: FileHandle;
  readonly #operation: string;
  readonly #signal: AbortSignal | undefined;
  /** Filled in turn: the parser may still look at the last one. */
  readonly #buffers = [Buffer.allocUnsafeSlow(CHUNK_BYTES), Buffer.allocUnsafeSlow(CHUNK_BYTES)] as const;
  #turn = 0;
  #position = 0;
  #skipped = false;

  constructor(file: FileHandle, size: number, operation: string, signal: AbortSignal | undefined) {
    this.#file = file;
    this.size = size;
    this.#operation = operation;
    this.#signal = signal;
  }

  async next(): Promise<Uint8Array | undefined> {
    this.#signal?.throwIfAborted();
    const buffer = this.#buffers[this.#turn === 0 ? 0 : 1];
    this.#turn ^= 1;
    // Files of debugfs have no positions.
    const reading = this.#file.read(buffer, 0, CHUNK_BYTES, this.#skipped ? this.#position : null);
    const { bytesRead } = await systemCall(this.#operation, reading);
    this.#position += bytesRead;
    return bytesRead === 0 ? undefined : buffer.subarray(0, bytesRead);
  }

  skip(count: number): number {
    const skipped = Math.max(Math.min(count, this.size - this.#position), 0);
    this.#position += skipped;
    this.#skipped ||= skipped > 0;
    return skipped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** The chunks of a stream. It is ended when it is left early. */
export function chunksOf(stream: AsyncIterable<Uint8Array>, signal?: AbortSignal): ChunkSource {
  const chunks = stream[Symbol.asyncIterator]();
  return {
    size: undefined,
    next: async () => {
      const next = systemCall('read the stream', chunks.next());
      const chunk = await within(next, Infinity, signal, () => undefined);
      return chunk.done === true ? undefined : chunk.value;
    },
    skip: () => 0,
    // A stream that stands still does not end before its next chunk.
    [Symbol.asyncDispose]: () => tryBriefly(() => chunks.return?.()),
  };
}

/** The beginning of a source, which may be read in pieces of any length before the rest of its chunks. */
export class SourceHead implements ChunkSource {
  readonly #source: ChunkSource;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(source: ChunkSource) {
    this.#source = source;
  }

  get size(): number | undefined {
    return this.#source.size;
  }

  /** Reads bytes, fewer only where the source ends before; they are a copy. */
  async take(count: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let missing = count;
    while (missing > 0) {
      const chunk = this.#rest.length > 0 ? this.#rest : await this.#source.next();
      if (chunk === undefined) break;
      const part = chunk.subarray(0, missing);
      parts.push(Buffer.from(part));
      this.#rest = chunk.subarray(part.length);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** Gives bytes back, to be read again. */
  unread(bytes: Uint8Array): void {
    this.#rest = Buffer.concat([bytes, this.#rest]);
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.#rest.length === 0) return this.#source.next();
    const chunk = this.#rest;
    this.#rest = new Uint8Array(0);
    return chunk;
  }

  skip(count: number): number {
    return this.#rest.length > 0 ? 0 : this.#source.skip(count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}
