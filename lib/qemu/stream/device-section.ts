import { COMMANDS, FOOTER_BYTES, MARK } from './layout.js';
import type { Steps, StreamCursor } from './stream-cursor.js';

/** Bytes of a section's header beside its name: mark, id, length of the name, instance, version. */
const HEADER_BYTES = 14;
const PRINTABLE = /^[\x20-\x7e]+$/;

/**
 * Passes over the payload of a device. Its length is nowhere before the description at the stream's end, so its footer is
 * searched: the mark and this section's id, where what follows could stand between sections.
 */
export function* skipDevice(cursor: StreamCursor, id: number, isSection: (id: number) => boolean): Steps {
  const { window } = cursor;
  for (;;) {
    yield* cursor.need(1);
    const found = window.bytes.indexOf(MARK.footer, window.at);
    if (found < 0 || found >= window.end) {
      window.skip(window.available);
      continue;
    }
    window.advance(found - window.at);
    yield* cursor.need(FOOTER_BYTES);
    if (window.uint32(1) === id && (yield* beginsBetween(cursor, FOOTER_BYTES, isSection))) return;
    window.advance(1);
  }
}

/** Whether what stands `ahead` bytes further on may stand between two sections. */
export function* beginsBetween(
  cursor: StreamCursor,
  ahead: number,
  isSection: (id: number) => boolean,
): Steps<boolean> {
  const { window } = cursor;
  if (!(yield* cursor.look(ahead + 1))) return false;
  switch (window.uint8(ahead)) {
    case MARK.eof:
      // The description, or the end of the stream. QEMU does not wait for either.
      cursor.mayBeWhole = true;
      return !(yield* cursor.look(ahead + 2)) || window.uint8(ahead + 1) === MARK.description;
    case MARK.command:
      return (
        (yield* cursor.look(ahead + 5)) && window.bytes.readUInt16BE(window.at + ahead + 1) < COMMANDS.length
      );
    case MARK.part:
    case MARK.end:
      return (yield* cursor.look(ahead + 5)) && isSection(window.uint32(ahead + 1));
    case MARK.start:
    case MARK.full: {
      if (!(yield* cursor.look(ahead + 6))) return false;
      const length = window.uint8(ahead + 5);
      if (!(yield* cursor.look(ahead + HEADER_BYTES + length))) return false;
      return !isSection(window.uint32(ahead + 1)) && PRINTABLE.test(window.text(ahead + 6, length));
    }
    default:
      return false;
  }
}
