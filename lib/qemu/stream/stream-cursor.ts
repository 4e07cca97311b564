import { HtabFormatError } from '../../base/errors.js';
import { foreignText } from '../../base/foreign-text.js';
import { ByteWindow } from './byte-window.js';

/** A step of a parser: it yields where it needs bytes that have not come yet. */
export type Steps<Result = void> = Generator<void, Result, void>;

/** Where a parser is in a stream; every error it makes names the section and the offset. */
export class StreamCursor {
  readonly window = new ByteWindow();
  /** Name of the section that is being read. */
  section = 'header';
  /** Records of the table read so far. */
  records = 0;
  /** No more bytes will come. */
  ended = false;
  /** A byte has come that ends the sections, unless what follows shows that it is one of a device. */
  mayBeWhole = false;

  get offset(): number {
    return this.window.offset;
  }

  /** Waits until the next `count` bytes are there. */
  *need(count: number): Steps {
    while (!this.window.ready(count)) {
      if (this.ended) throw this.cutShort(count - this.window.available);
      yield;
    }
  }

  /** Waits for bytes that the stream may end before; false if it does. */
  *look(count: number): Steps<boolean> {
    while (!this.window.ready(count)) {
      if (this.ended) return false;
      yield;
    }
    return true;
  }

  /** Passes over bytes. */
  *skip(count: number): Steps {
    this.window.skip(count);
    while (this.window.owed > 0) {
      if (this.ended) throw this.cutShort(this.window.owed);
      yield;
    }
  }

  *uint32(): Steps<number> {
    yield* this.need(4);
    const value = this.window.uint32();
    this.window.advance(4);
    return value;
  }

  /**
   * Reads 64 bits.
   *
   * @throws HtabFormatError for more than a number can hold: nothing in a stream is as large
   */
  *uint64(what: string): Steps<number> {
    yield* this.need(8);
    const value = this.window.uint32() * 2 ** 32 + this.window.uint32(4);
    if (!Number.isSafeInteger(value)) throw this.refusal(`${what} is beyond 2^53`);
    this.window.advance(8);
    return value;
  }

  /** Reads a text of up to 255 bytes, after its length. */
  *name(): Steps<string> {
    yield* this.need(1);
    const length = this.window.uint8();
    yield* this.need(1 + length);
    const text = this.window.text(1, length);
    this.window.advance(1 + length);
    return text;
  }

  /** @param byteOffset in the stream; default: of the next byte */
  refusal(
    reason: string,
    { byteOffset = this.offset, ptex, cause }: { byteOffset?: number; ptex?: number; cause?: unknown } = {},
  ): HtabFormatError {
    const section = foreignText(this.section);
    return new HtabFormatError(reason, { byteOffset, recordIndex: this.records, ptex, section, cause });
  }

  cutShort(missing: number): HtabFormatError {
    const bytes = missing === 1 ? 'byte' : 'bytes';
    return this.refusal(`the stream ends here: at least ${missing} more ${bytes} expected`);
  }
}
