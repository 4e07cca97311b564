import { HTAB_SECTION, type QemuPart } from '../stream/layout.js';

/** What of the stop went by, as the relay saw it. */
export interface StopShare {
  /** From the first part that is sent of a guest that stands still to the stream's end, in ms. */
  readonly stopMs: number;
  /** Part of it in which the table was sent, in ms. */
  readonly tableMs: number;
  /** Bytes of the stream in that time. */
  readonly stopBytes: number;
  /** Those of the table among them. */
  readonly tableBytes: number;
}

/** Times the stop of a guest by the parts that QEMU sends during it: the last ones of memory and table, then the devices. */
export class StopWatch {
  #beganAt: number | undefined;
  #beganAtByte = 0;
  #lastPartAt = 0;
  #table = { ms: 0, bytes: 0 };

  readonly onPayload = ({ type, payloadOffset }: Pick<QemuPart, 'type' | 'payloadOffset'>): void => {
    if (this.#beganAt !== undefined || (type !== 'end' && type !== 'full')) return;
    this.#beganAt = this.#lastPartAt = performance.now();
    this.#beganAtByte = payloadOffset;
  };

  readonly onPart = ({ section, type, payloadOffset, payloadEnd }: QemuPart): void => {
    if (this.#beganAt === undefined) return;
    const now = performance.now();
    if (section.name === HTAB_SECTION && type === 'end') {
      this.#table = { ms: now - this.#lastPartAt, bytes: payloadEnd - payloadOffset };
    }
    this.#lastPartAt = now;
  };

  /** @param streamBytes passed on by now */
  share(streamBytes: number): StopShare | undefined {
    if (this.#beganAt === undefined) return undefined;
    return {
      stopMs: performance.now() - this.#beganAt,
      tableMs: this.#table.ms,
      stopBytes: streamBytes - this.#beganAtByte,
      tableBytes: this.#table.bytes,
    };
  }
}
