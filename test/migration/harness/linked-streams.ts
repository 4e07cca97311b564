import { Duplex } from 'node:stream';

/** What becomes of bytes on their way: others, fewer, or `cut`, after which the connection is gone. */
export type Wire = (chunk: Buffer, offset: number) => { readonly bytes: Buffer; readonly cut?: boolean };

const unchanged: Wire = (bytes) => ({ bytes });

/** One end of a connection within this process: a write is done once the other end has room for more. */
class StreamEnd extends Duplex {
  peer!: StreamEnd;
  readonly #wire: Wire;
  #sent = 0;
  #untilRead: (() => void) | undefined;

  constructor(wire: Wire) {
    super({ allowHalfOpen: true });
    this.#wire = wire;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    const { bytes, cut = false } = this.#wire(chunk, this.#sent);
    this.#sent += chunk.length;
    if (cut) {
      if (bytes.length > 0) this.peer.push(bytes);
      this.destroy(reset());
      callback();
    } else if (this.peer.destroyed) {
      callback(reset());
    } else if (bytes.length === 0 || this.peer.push(bytes)) {
      callback();
    } else {
      this.peer.#untilRead = callback;
    }
  }

  override _read(): void {
    const callback = this.#untilRead;
    this.#untilRead = undefined;
    callback?.();
  }

  override _final(callback: () => void): void {
    if (!this.peer.destroyed) this.peer.push(null);
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const orderly = this.readableEnded && this.writableFinished;
    if (!orderly && !this.peer.destroyed) this.peer.destroy(reset());
    this.#untilRead?.();
    callback(error);
  }
}

function reset(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
}

/** Two connected ends, and what happens to bytes sent by the first and by the second. */
export function linkStreams(fromFirst: Wire = unchanged, fromSecond: Wire = unchanged): [Duplex, Duplex] {
  const first = new StreamEnd(fromFirst);
  const second = new StreamEnd(fromSecond);
  first.peer = second;
  second.peer = first;
  return [first, second];
}

/** Lets `length` bytes through, then cuts the connection. */
export function cutAfter(length: number): Wire {
  return (chunk, offset) => {
    const left = length - offset;
    return left >= chunk.length
      ? { bytes: chunk }
      : { bytes: chunk.subarray(0, Math.max(0, left)), cut: true };
  };
}

/** Changes one byte of all that passes. */
export function flipByte(at: number, mask: number): Wire {
  return (chunk, offset) => {
    if (at < offset || at >= offset + chunk.length) return { bytes: chunk };
    const bytes = Buffer.from(chunk);
    bytes[at - offset]! ^= mask;
    return { bytes };
  };
}
