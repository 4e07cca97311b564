import type { Duplex } from 'node:stream';
import { FRAME_HEADER_BYTES } from '../../frames/frame.js';
import { migrationError } from '../errors.js';
import type { Message } from './messages.js';
import { decodeHeader, decodePayload, type MessageHeader } from './protocol.js';

/** A message and its frame's number. */
export interface ReceivedMessage {
  readonly message: Message;
  readonly sequence: number;
}

/** Takes frames from a channel: only what it is asked for, so that at most one frame of the peer's stands in memory. */
export class FrameReader {
  readonly #channel: Duplex;
  readonly #lost: () => Error;
  /** The peer has sent a message, so it may send long payloads. */
  #greeted = false;
  #frames = 0;
  /** Header of the frame whose payload is not there yet. */
  #header: MessageHeader | undefined;
  /** Where payloads are put together: what a socket gives is garbage in small pieces then, and never much of it. */
  #payload = Buffer.alloc(0);
  /** Bytes of the payload that are there. */
  #filled = 0;

  /** @param lost makes the error for a frame that the channel's end has cut */
  constructor(channel: Duplex, lost: () => Error) {
    this.#channel = channel;
    this.#lost = lost;
  }

  /** Frames taken so far. */
  get frames(): number {
    return this.#frames;
  }

  /** The next frame's message, if all of it is here. The bytes of `data` and `state` are valid until the next call. */
  next(): ReceivedMessage | undefined {
    if (this.#header === undefined) {
      const bytes = this.#take(FRAME_HEADER_BYTES);
      if (bytes === undefined) return undefined;
      this.#header = decodeHeader(bytes);
      // A stranger gets no memory for a long payload.
      const { type } = this.#header;
      if ((type === 'data' || type === 'state') && !this.#greeted)
        throw migrationError(`${type} came before any other message`);
    }
    const header = this.#header;
    const payload = this.#takePayload(header.length);
    if (payload === undefined) return undefined;
    this.#header = undefined;
    const message = decodePayload(header, payload, this.#frames++);
    if (message.type !== 'heartbeat') this.#greeted = true;
    return { message, sequence: header.sequence };
  }

  /** `length` bytes, bounded by now, in memory that is used again; undefined as long as they are not all there. */
  #takePayload(length: number): Buffer | undefined {
    if (this.#payload.length < length) this.#payload = Buffer.alloc(length);
    while (this.#filled < length) {
      const available = Math.min(length - this.#filled, this.#channel.readableLength);
      // Asked for what is there already, the channel would not go on reading.
      const bytes = this.#take(Math.max(1, available));
      if (bytes === undefined) return undefined;
      bytes.copy(this.#payload, this.#filled);
      this.#filled += bytes.length;
    }
    this.#filled = 0;
    return this.#payload.subarray(0, length);
  }

  /** `length` bytes from the channel, if that many are there. */
  #take(length: number): Buffer | undefined {
    const bytes = this.#channel.read(length) as Buffer | null;
    if (bytes === null) return undefined;
    if (bytes.length < length) throw this.#lost();
    return bytes;
  }
}
