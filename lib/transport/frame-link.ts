import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { within } from '../base/time.js';
import { FRAME_HEADER_BYTES, type FrameCodec } from '../frames/frame.js';

export interface LinkedFrame<Type extends string> {
  readonly type: Type;
  readonly payload: Buffer;
}

export interface FrameLinkOptions {
  /** Longest time that the peer may take to send, or to take, a frame. */
  readonly timeoutMs: number;
  /** Makes the error for a connection that is lost or silent; `reason` is a clause without a full stop. */
  readonly broken: (reason: string, cause?: unknown) => Error;
}

/**
 * Frames over a connection of which only one side sends at a time. At most one frame of the peer's stands in memory, and a
 * send waits until the connection has taken it.
 */
export class FrameLink<Type extends string> {
  readonly #channel: Duplex;
  readonly #codec: FrameCodec<Type>;
  readonly #options: FrameLinkOptions;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #hash = createHash('sha256');
  #sent = 0;
  #received = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(channel: Duplex, codec: FrameCodec<Type>, options: FrameLinkOptions) {
    this.#channel = channel;
    this.#codec = codec;
    this.#options = options;
    // Stays for good: without a listener a late ECONNRESET would end the process.
    channel.on('error', () => undefined);
    this.#chunks = channel[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /**
   * SHA-256 of the headers of all frames so far, of both directions: the same at both ends. A header has the CRC32 of its
   * payload, which is checked when it comes. To hash gigabytes of payloads as well would cost more than to send them.
   */
  get digest(): string {
    return this.#hash.copy().digest('hex');
  }

  /** @param payload the connection's from here on */
  async send(type: Type, payload: Buffer): Promise<void> {
    const header = this.#codec.encodeHeader(type, this.#sent++, payload);
    this.#hash.update(header);
    const taken = new Promise<void>((resolve, reject) => {
      this.#channel.write(header);
      this.#channel.write(payload, (error) => {
        if (error) reject(this.#lost(error));
        else resolve();
      });
    });
    await this.#soon(taken);
  }

  /** The next frame, within the time that the peer has. */
  receive(): Promise<LinkedFrame<Type>> {
    return this.#soon(this.wait());
  }

  /** The next frame, however long it takes. */
  async wait(): Promise<LinkedFrame<Type>> {
    const bytes = await this.#take(FRAME_HEADER_BYTES);
    const header = this.#codec.decodeHeader(bytes);
    const payload = await this.#take(header.length);
    this.#codec.checkPayload(header, payload, this.#received++);
    this.#hash.update(bytes);
    return { type: header.type, payload };
  }

  close(): void {
    this.#channel.destroy();
  }

  #soon<T>(promise: Promise<T>): Promise<T> {
    const { timeoutMs, broken } = this.#options;
    return within(promise, timeoutMs, undefined, () => broken(`no data from the peer for ${timeoutMs} ms`));
  }

  async #take(length: number): Promise<Buffer> {
    const parts = [this.#rest];
    let held = this.#rest.length;
    while (held < length) {
      const chunk = await this.#nextChunk();
      parts.push(chunk);
      held += chunk.length;
    }
    const bytes = Buffer.concat(parts, held);
    this.#rest = bytes.subarray(length);
    return bytes.subarray(0, length);
  }

  async #nextChunk(): Promise<Buffer> {
    const next = await this.#chunks.next().catch((error: unknown) => {
      throw this.#lost(error);
    });
    if (next.done === true) throw this.#lost();
    return next.value;
  }

  #lost(cause?: unknown): Error {
    return this.#options.broken('the connection is lost', cause);
  }
}
