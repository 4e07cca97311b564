import type { Writable } from 'node:stream';
import { hasMethod } from '../base/arguments.js';
import { systemCall } from '../base/system-call.js';
import { within } from '../base/time.js';

/** Whether this can be written to, as a stream of Node's is. */
export function isWritable(value: unknown): value is Writable {
  return hasMethod(value, 'write') && hasMethod(value, 'on');
}

/**
 * A stream that a snapshot is written to. What has been written cannot be taken back: a reader knows a snapshot that was
 * given up by its end, which is missing. The stream stays open.
 */
export class StreamSink {
  readonly #stream: Writable;
  readonly #signal: AbortSignal | undefined;
  readonly #operation: string;
  readonly #ignore = (): void => undefined;

  /**
   * @param signal ends a write with its reason, also one that the reader never takes
   * @param what it is, for messages
   */
  constructor(stream: Writable, signal: AbortSignal | undefined, what = 'snapshot') {
    this.#operation = `write the ${what} to its stream`;
    this.#stream = stream;
    this.#signal = signal;
    // The failed write reports the error.
    stream.on('error', this.#ignore);
  }

  /** Resolves once all of the bytes have been taken. */
  async write(bytes: Uint8Array): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.#stream.write(bytes, (error) => {
        if (error) reject(error);
        else resolve();
      });
      if (this.#stream.errored !== null) reject(this.#stream.errored);
    });
    await within(systemCall(this.#operation, written), Infinity, this.#signal, () => undefined);
  }

  commit(): Promise<void> {
    return Promise.resolve();
  }

  discard(): Promise<void> {
    // The event of an error comes after the write that it fails.
    if (this.#stream.errored === null) this.#stream.off('error', this.#ignore);
    return Promise.resolve();
  }
}

/** Bytes of a stream, taken in any pieces. */
export class StreamSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal | undefined;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(stream: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#signal = signal;
  }

  /** Reads until the buffer is full or the stream ends; returns how many bytes there were. */
  async fill(buffer: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < buffer.length) {
      if (this.#rest.length === 0) {
        const next = systemCall('read the snapshot from its stream', this.#chunks.next());
        const chunk = await within(next, Infinity, this.#signal, () => undefined);
        if (chunk.done === true) break;
        this.#rest = chunk.value;
      }
      const part = this.#rest.subarray(0, buffer.length - filled);
      buffer.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return filled;
  }
}
