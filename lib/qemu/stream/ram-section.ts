import { foreignText } from '../../base/foreign-text.js';
import type { Configuration } from './configuration.js';
import type { QemuRam } from './layout.js';
import type { Steps, StreamCursor } from './stream-cursor.js';

/** Flags in the low bits of a page's address. */
const FLAG = {
  zero: 0x2,
  blocks: 0x4,
  page: 0x8,
  end: 0x10,
  sameBlock: 0x20,
  difference: 0x40,
  hook: 0x80,
  compressed: 0x100,
  multifdFlush: 0x200,
} as const;

const DIFFERENCE_ENCODING = 1;
const MAX_BLOCKS = 4096;
const MAPPED_VERSION = 1;

/** Passes over a guest's memory: pages are neither copied nor looked at. */
export class RamSection {
  readonly #configuration: Readonly<Configuration>;
  readonly #blocks: { readonly name: string; readonly bytes: number }[] = [];
  #pages = 0;
  #mapped = false;
  #multifd = false;
  #compressedPages = 0;

  constructor(configuration: Readonly<Configuration>) {
    this.#configuration = configuration;
  }

  get summary(): QemuRam {
    return {
      blocks: this.#blocks,
      pages: this.#pages,
      mapped: this.#mapped,
      multifd: this.#multifd,
      compressedPages: this.#compressedPages,
    };
  }

  /** Reads the payload of one part. */
  *read(cursor: StreamCursor): Steps {
    const { window } = cursor;
    const { pageBytes } = this.#configuration;
    for (;;) {
      if (!window.ready(8)) yield* cursor.need(8);
      const low = window.uint32(4);
      const flags = low & (pageBytes - 1);
      switch (flags & ~FLAG.sameBlock) {
        case FLAG.page:
          yield* this.#toPage(cursor, flags);
          window.skip(pageBytes);
          if (window.owed > 0) yield* cursor.skip(window.owed);
          break;
        case FLAG.zero:
          yield* this.#toPage(cursor, flags);
          yield* cursor.skip(1);
          break;
        case FLAG.difference:
          yield* this.#toPage(cursor, flags);
          yield* this.#difference(cursor);
          break;
        case FLAG.compressed:
          yield* this.#toPage(cursor, flags);
          this.#compressedPages++;
          yield* this.#compressed(cursor);
          break;
        case FLAG.blocks:
          yield* this.#readBlocks(cursor, window.uint32() * 2 ** 32 + (low - flags));
          break;
        case FLAG.multifdFlush:
          this.#multifd = true;
          window.advance(8);
          break;
        case FLAG.end:
          window.advance(8);
          return;
        default:
          throw cursor.refusal(
            flags === FLAG.hook
              ? 'memory went by RDMA, which leaves no stream to read'
              : `a page has flags 0x${flags.toString(16)}, which are not known`,
          );
      }
    }
  }

  /** Goes to what follows a page's address, and the name of its block. */
  *#toPage(cursor: StreamCursor, flags: number): Steps {
    const { window } = cursor;
    this.#pages++;
    if ((flags & FLAG.sameBlock) !== 0) {
      window.advance(8);
      return;
    }
    yield* cursor.need(9);
    yield* cursor.skip(9 + window.uint8(8));
  }

  *#difference(cursor: StreamCursor): Steps {
    yield* cursor.need(3);
    const { window } = cursor;
    const length = (window.uint8(1) << 8) | window.uint8(2);
    if (window.uint8() !== DIFFERENCE_ENCODING || length > this.#configuration.pageBytes) {
      throw cursor.refusal(`a page's difference has encoding ${window.uint8()} and ${length} bytes`);
    }
    yield* cursor.skip(3 + length);
  }

  *#compressed(cursor: StreamCursor): Steps {
    const length = yield* cursor.uint32();
    // What does not become smaller may become a little larger.
    if (length > 2 * this.#configuration.pageBytes) {
      throw cursor.refusal(`a compressed page has ${length} bytes`);
    }
    yield* cursor.skip(length);
  }

  /** @param total bytes of all blocks */
  *#readBlocks(cursor: StreamCursor, total: number): Steps {
    const { capabilities } = this.#configuration;
    cursor.window.advance(8);
    for (let left = total; left > 0;) {
      if (this.#blocks.length === MAX_BLOCKS)
        throw cursor.refusal(`there are more than ${MAX_BLOCKS} blocks of memory`);
      const byteOffset = cursor.offset;
      const name = foreignText(yield* cursor.name());
      const bytes = yield* cursor.uint64(`the length of memory block "${name}"`);
      if (bytes > left) {
        throw cursor.refusal(`memory block "${name}" has ${bytes} bytes, and ${left} are left of the total`, {
          byteOffset,
        });
      }
      left -= bytes;
      this.#blocks.push({ name, bytes });
      if (capabilities.includes('x-ignore-shared')) yield* cursor.skip(8);
      if (capabilities.includes('mapped-ram')) yield* this.#overMappedPages(cursor, bytes);
    }
  }

  /** Passes over the region of a mapped-ram file that holds a block's pages. */
  *#overMappedPages(cursor: StreamCursor, bytes: number): Steps {
    this.#mapped = true;
    const version = yield* cursor.uint32();
    if (version !== MAPPED_VERSION) {
      throw cursor.refusal(
        `the map of a memory block has version ${version}; only ${MAPPED_VERSION} is supported`,
      );
    }
    yield* cursor.skip(8);
    const bitmapOffset = yield* cursor.uint64('the offset of a bitmap');
    const pagesOffset = yield* cursor.uint64('the offset of mapped pages');
    // Memory that is shared with the destination has no pages here.
    if (bitmapOffset === 0 && pagesOffset === 0) return;
    const end = pagesOffset + bytes;
    if (bitmapOffset < cursor.offset || pagesOffset < bitmapOffset || !Number.isSafeInteger(end)) {
      throw cursor.refusal(
        `a memory block claims its bitmap at ${bitmapOffset} and its pages at ${pagesOffset}, which the stream has passed`,
      );
    }
    yield* cursor.skip(end - cursor.offset);
  }
}
