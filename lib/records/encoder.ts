import { checkFunction, checkInteger, outOfRangeError } from '../base/arguments.js';
import { HtabStateError } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options.js';
import { HPTE_BYTES } from '../hpt/geometry.js';
import {
  HEADER_BYTES,
  MAX_RUN,
  MAX_STREAM_ENTRIES,
  type HeaderByteOrder,
  checkHeaderByteOrder,
  putHeader,
} from './header.js';

/** Takes a filled buffer: whole records. The encoder does not touch it again, and must not be called from here. */
export type RecordSink = (records: Uint8Array) => void;

export interface RecordEncoderOptions {
  /** Byte order of record headers. Default `LE`, as the kernel of every supported host wants them; `BE` for QEMU. */
  readonly headerByteOrder?: HeaderByteOrder;
  /** Most valid entries of one record, 1..65535. Default 65535; for QEMU 127. */
  readonly maxValid?: number;
  /** Bytes of a buffer, 24 or more. Default 64 KiB. */
  readonly bufferBytes?: number;
  /** Allocates buffers of at least `bufferBytes`. Default: the encoder's own. */
  readonly allocate?: (bufferBytes: number) => Uint8Array;
}

const ENCODER_NAMES: OptionNames<RecordEncoderOptions> = {
  headerByteOrder: true,
  maxValid: true,
  bufferBytes: true,
  allocate: true,
};
const NO_BYTES = new Uint8Array(0);
/** Up to here, bytes are copied faster by a loop than by a call. */
const SHORT_COPY = 64;

/**
 * Writes runs of entries as records, into buffers that it hands over when they are full.
 *
 * No record lies in two buffers. One that is longer than a buffer, or than `maxValid`, is cut into several, which means
 * the same; any other stays as it is given, and none are joined.
 *
 * ```ts
 * const encoder = new RecordEncoder((records) => frames.push(records), { headerByteOrder: 'BE', maxValid: 127 });
 * while (cursor.next()) {
 *   encoder.add(cursor.index, cursor.validCount, cursor.invalidCount, cursor.bytes, cursor.byteOffset);
 * }
 * encoder.flush();
 * ```
 *
 * A sink, or an `allocate`, that throws ends the encoder: what it held is lost, and every later call throws too.
 */
export class RecordEncoder {
  readonly #sink: RecordSink;
  readonly #headerByteOrder: HeaderByteOrder;
  readonly #bufferBytes: number;
  readonly #allocate: (bufferBytes: number) => Uint8Array;
  readonly #longestRun: number;
  #buffer: Uint8Array = NO_BYTES;
  #view: DataView = new DataView(NO_BYTES.buffer);
  #filled = 0;
  #calledOut = false;
  #failure: HtabStateError | undefined;

  /**
   * @throws RangeError for a buffer too short for one entry, or a record length that a header cannot hold
   * @throws TypeError for an unknown `headerByteOrder`
   */
  constructor(sink: RecordSink, options: RecordEncoderOptions = {}) {
    checkFunction('sink', sink);
    checkOptions(options, ENCODER_NAMES);
    const { headerByteOrder = 'LE', maxValid = MAX_RUN, bufferBytes = 65_536 } = options;
    const { allocate = (bytes: number) => Buffer.allocUnsafeSlow(bytes) } = options;
    checkInteger('maxValid', maxValid, 1, MAX_RUN);
    checkInteger('bufferBytes', bufferBytes, HEADER_BYTES + HPTE_BYTES, Number.MAX_SAFE_INTEGER);
    this.#sink = sink;
    checkHeaderByteOrder(headerByteOrder);
    this.#headerByteOrder = headerByteOrder;
    this.#bufferBytes = bufferBytes;
    this.#allocate = allocate;
    this.#longestRun = Math.min(maxValid, Math.floor((bufferBytes - HEADER_BYTES) / HPTE_BYTES));
  }

  /**
   * Adds `validCount` valid entries from `index` on, and `invalidCount` invalid ones after them; either may be 0.
   *
   * @param index ptex of the first entry; the last may be 2^32 - 1
   * @param bytes holds the HPTEs of the valid entries, at `byteOffset`; they are copied as they are, not checked
   * @throws RangeError if the entries or their bytes are out of range; nothing is added then
   * @throws HtabStateError `busy` from within the sink, `lost` after it has thrown
   */
  add(
    index: number,
    validCount: number,
    invalidCount: number,
    bytes: Uint8Array = NO_BYTES,
    byteOffset = 0,
  ): void {
    this.#checkState();
    checkInteger('index', index, 0, MAX_STREAM_ENTRIES);
    checkInteger('validCount', validCount, 0, MAX_STREAM_ENTRIES);
    checkInteger('invalidCount', invalidCount, 0, MAX_STREAM_ENTRIES);
    const end = index + validCount + invalidCount;
    if (end > MAX_STREAM_ENTRIES)
      throw outOfRangeError('index + counts', `at most ${MAX_STREAM_ENTRIES}`, end);
    if (
      !Number.isInteger(byteOffset) ||
      byteOffset < 0 ||
      byteOffset + validCount * HPTE_BYTES > bytes.length
    ) {
      throw outOfRangeError(
        'byteOffset',
        `an integer, followed by ${validCount * HPTE_BYTES} of ${bytes.length} bytes`,
        byteOffset,
      );
    }

    let ptex = index;
    let from = byteOffset;
    for (let valid = validCount, invalid = invalidCount; valid + invalid > 0;) {
      const run = Math.min(valid, this.#longestRun);
      valid -= run;
      // The invalid entries follow the last of the valid ones.
      const gap = valid > 0 ? 0 : Math.min(invalid, MAX_RUN);
      invalid -= gap;
      this.#put(ptex, run, gap, bytes, from);
      ptex += run + gap;
      from += run * HPTE_BYTES;
    }
  }

  /**
   * Hands over what the buffer holds, if anything.
   *
   * @throws HtabStateError as {@link add} does
   */
  flush(): void {
    this.#checkState();
    if (this.#filled === 0) return;
    const records = this.#buffer.subarray(0, this.#filled);
    this.#buffer = NO_BYTES;
    this.#filled = 0;
    this.#callOut(() => {
      this.#sink(records);
    });
  }

  #put(index: number, validCount: number, invalidCount: number, bytes: Uint8Array, byteOffset: number): void {
    const hpteBytes = validCount * HPTE_BYTES;
    if (this.#buffer.length - this.#filled < HEADER_BYTES + hpteBytes) {
      this.flush();
      this.#buffer = this.#callOut(() => this.#newBuffer());
      this.#view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.length);
    }
    putHeader(this.#view, this.#filled, { index, validCount, invalidCount }, this.#headerByteOrder);
    this.#filled += HEADER_BYTES;
    if (hpteBytes > SHORT_COPY) {
      this.#buffer.set(bytes.subarray(byteOffset, byteOffset + hpteBytes), this.#filled);
    } else {
      for (let k = 0; k < hpteBytes; k++) this.#buffer[this.#filled + k] = bytes[byteOffset + k]!;
    }
    this.#filled += hpteBytes;
  }

  #newBuffer(): Uint8Array {
    const buffer = this.#allocate(this.#bufferBytes);
    if (buffer.length >= this.#bufferBytes) return buffer;
    throw outOfRangeError('allocate()', `a Uint8Array of at least ${this.#bufferBytes} bytes`, buffer.length);
  }

  /** Runs the caller's code. A call from there would put records before those of the add() under way. */
  #callOut<T>(call: () => T): T {
    this.#calledOut = true;
    try {
      return call();
    } catch (error) {
      this.#failure = new HtabStateError('lost', 'records were lost: the sink, or allocate(), threw', {
        cause: error,
      });
      throw error;
    } finally {
      this.#calledOut = false;
    }
  }

  #checkState(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#calledOut)
      throw new HtabStateError('busy', 'the encoder was called from its own sink, or allocate()');
  }
}
