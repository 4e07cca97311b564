import { foreignText } from '../../base/foreign-text.js';
import { MARK } from './layout.js';
import type { Steps, StreamCursor } from './stream-cursor.js';

const MAX_NAME = 255;
/** QEMU knows fewer than 40. */
const MAX_CAPABILITIES = 256;
/** What QEMU's targets use: pages of 1 KiB to 64 KiB. */
const PAGE_BITS = { min: 10, max: 16 };

/** What a stream tells of the machine before its sections. */
export interface Configuration {
  /** Machine type, as `pseries-10.0`; empty in streams of machines older than QEMU 2.4. */
  machine: string;
  /** Of the migration capabilities, those that change the format: `x-ignore-shared`, `mapped-ram`. */
  capabilities: readonly string[];
  /** Bytes of a page of guest memory. */
  pageBytes: number;
}

/** Reads the configuration after its mark; what follows it up to the first section belongs to it. */
export function* readConfiguration(cursor: StreamCursor, configuration: Configuration): Steps {
  cursor.section = 'configuration';
  const { window } = cursor;
  yield* cursor.need(4);
  const length = window.uint32();
  if (length > MAX_NAME)
    throw cursor.refusal(`the machine's name has ${length} bytes, more than ${MAX_NAME}`);
  yield* cursor.need(4 + length);
  configuration.machine = foreignText(window.text(4, length));
  window.advance(4 + length);
  for (;;) {
    yield* cursor.need(1);
    if (window.uint8() !== MARK.subsection) return;
    window.advance(1);
    yield* readSubsection(cursor, configuration);
  }
}

function* readSubsection(cursor: StreamCursor, configuration: Configuration): Steps {
  const byteOffset = cursor.offset;
  const name = yield* cursor.name();
  const version = yield* cursor.uint32();
  if (name === 'configuration/uuid') {
    yield* cursor.skip(16);
  } else if (name === 'configuration/target-page-bits') {
    const bits = yield* cursor.uint32();
    if (bits < PAGE_BITS.min || bits > PAGE_BITS.max) {
      throw cursor.refusal(`pages of 2^${bits} bytes are not those of any machine`, { byteOffset });
    }
    configuration.pageBytes = 2 ** bits;
  } else if (name === 'configuration/capabilities') {
    configuration.capabilities = yield* readCapabilities(cursor);
  } else {
    // Its length is nowhere in the stream.
    throw cursor.refusal(`subsection "${foreignText(name)}", version ${version}, is not known`, {
      byteOffset,
    });
  }
}

function* readCapabilities(cursor: StreamCursor): Steps<string[]> {
  const count = yield* cursor.uint32();
  if (count > MAX_CAPABILITIES) {
    throw cursor.refusal(`${count} capabilities are announced, more than ${MAX_CAPABILITIES}`);
  }
  const names: string[] = [];
  while (names.length < count) names.push(foreignText(yield* cursor.name()));
  return names;
}
