import { Readable } from 'node:stream';
import { checkOneOf } from '../base/arguments.js';
import { checkOptions, numbersOf, type OptionTable } from '../base/options.js';
import type { HtabHandle, HtabVm } from '../vm/contract.js';
import { destroyOnAbort } from './abort.js';
import { HptReader } from './reader.js';
import { OPEN_READER_OPTIONS, READER_OPTIONS, type OpenReaderOptions } from './reader-options.js';
import { checkVmOrHandle, isVm } from './vm-or-handle.js';

/** What a stream of records covers; `shared`, `boltedOnly` and `startIndex` only apply where it opens the descriptor. */
export interface ReadStreamOptions extends OpenReaderOptions {
  /**
   * True: a chunk's bytes are valid until the next one is asked for, as in a loop or a `data` handler that is done with
   * each; not for what holds on to chunks, such as a pipe into a socket. Default false: they are the caller's to keep,
   * and fresh memory makes up half the cost of reading a quick source.
   */
  readonly recycle?: boolean;
  /**
   * `pass`: one walk to the end of the table. `quiescent`: pass upon pass, until one finds nothing changed; while the
   * guest runs that may never be. Default `pass`.
   */
  readonly until?: 'pass' | 'quiescent';
}

export const READ_STREAM_OPTIONS = {
  ...OPEN_READER_OPTIONS,
  recycle: { default: false, doc: 'true: a chunk is valid until the next one is asked for' },
  until: {
    choices: ['pass', 'quiescent'],
    default: 'pass',
    doc: 'where it ends: after one pass, or after one that finds nothing changed',
  },
} as const satisfies OptionTable<ReadStreamOptions>;

class HtabReadStream extends Readable {
  readonly #open: () => Promise<HptReader>;
  readonly #untilQuiescent: boolean;
  #reader: HptReader | undefined;
  #pass: AsyncGenerator<Uint8Array, void, undefined> | undefined;

  constructor(open: () => Promise<HptReader>, options: ReadStreamOptions) {
    // One chunk at the most may wait in the queue: read() without a size, as in a loop, makes one of all that wait, by
    // copying. The reader has the next read under way meanwhile, and, recycling, no buffer for a second one to wait in.
    super({ highWaterMark: 1 });
    this.#open = open;
    this.#untilQuiescent = options.until === 'quiescent';
    destroyOnAbort(this, options.signal);
  }

  override _construct(callback: (error?: Error | null) => void): void {
    this.#open().then((reader) => {
      this.#reader = reader;
      callback();
    }, callback);
  }

  override _read(): void {
    this.#nextChunk().then(
      (chunk) => this.push(chunk),
      (error: unknown) => this.destroy(error as Error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const closing = this.#reader?.close() ?? Promise.resolve();
    closing.then(
      () => {
        callback(error);
      },
      (failure: unknown) => {
        callback(error ?? (failure as Error));
      },
    );
  }

  /** The next chunk of the next pass that has one; null at the stream's end. */
  async #nextChunk(): Promise<Uint8Array | null> {
    const reader = this.#reader!;
    for (;;) {
      this.#pass ??= reader.pass();
      const { value } = await this.#pass.next();
      if (value !== undefined) return value;
      if (!this.#untilQuiescent || reader.quiescent) return null;
      this.#pass = undefined;
    }
  }
}

/**
 * The records of a table as a Node stream, in chunks of whole records that are the caller's to keep (see `recycle`).
 *
 * The stream owns its descriptor, also one it is given, and closes it at its end: later passes over the same descriptor
 * need an {@link HptReader}. Destroying it, at any moment, waits for the read in flight, which may take seconds in the
 * kernel; an abort ends it with the signal's own reason.
 *
 * @param source a VM, of which a read descriptor is opened, or an open read handle
 * @throws TypeError or RangeError for an invalid source or option; all else is the stream's `error` event, as
 *   with {@link HptReader.open} and {@link HptReader.pass}
 *
 * @example
 * await pipeline(createReadStream(vm), createWriteStream(otherVm));
 */
export function createReadStream(source: HtabVm | HtabHandle, options: ReadStreamOptions = {}): Readable {
  checkVmOrHandle('source', source);
  checkOptions(options, READ_STREAM_OPTIONS);
  const { until = 'pass', recycle = false, ...rest } = options;
  checkOneOf('until', until, ['pass', 'quiescent']);
  const readerOptions = { ...rest, recycle };
  numbersOf(READER_OPTIONS, readerOptions);
  if (isVm(source)) return new HtabReadStream(() => HptReader.open(source, readerOptions), options);
  // Outside the stream: a stream whose constructor throws goes on to call `_construct`.
  const { order, bufferBytes } = rest;
  const reader = new HptReader(source, { order, bufferBytes, recycle });
  return new HtabReadStream(() => Promise.resolve(reader), options);
}
