import { foreignText } from '../../base/foreign-text.js';
import { beginsBetween } from './device-section.js';
import type { Findings } from './findings.js';
import { FOOTER_BYTES, HTAB_SECTION, MARK, type QemuPart, type QemuSection } from './layout.js';
import type { Steps, StreamCursor } from './stream-cursor.js';

/** A stream of QEMU's has fewer than 200. */
const MAX_SECTIONS = 16_384;

export type PartType = QemuPart['type'];

/** A section that is being read. */
export interface OpenSection extends Omit<QemuSection, 'parts' | 'bytes' | 'complete'> {
  parts: number;
  bytes: number;
  complete: boolean;
}

/** The sections of a stream: reads the headers and footers of their parts. */
export class SectionList {
  readonly #findings: Findings;
  readonly #sections = new Map<number, OpenSection>();

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  get list(): QemuSection[] {
    return [...this.#sections.values()];
  }

  readonly has = (id: number): boolean => this.#sections.has(id);

  /** The section of the page table, if it has begun. */
  get htab(): QemuSection | undefined {
    return this.list.find(({ name }) => name === HTAB_SECTION);
  }

  /** Reads a part's header. */
  *readHeader(cursor: StreamCursor, type: PartType): Steps<OpenSection> {
    const { window } = cursor;
    const byteOffset = cursor.offset;
    cursor.section = 'between sections';
    yield* cursor.need(5);
    const id = window.uint32(1);
    window.advance(5);
    let section = this.#sections.get(id);
    if (type === 'start' || type === 'full') {
      if (section !== undefined) throw cursor.refusal(`section ${id} begins twice`, { byteOffset });
      section = yield* this.#readNew(cursor, { id, type, byteOffset });
      this.#sections.set(id, section);
    }
    if (section === undefined) throw cursor.refusal(`section ${id} has not begun`, { byteOffset });
    cursor.section = section.name;
    return section;
  }

  *#readNew(
    cursor: StreamCursor,
    { id, type, byteOffset }: { readonly id: number; readonly type: PartType; readonly byteOffset: number },
  ): Steps<OpenSection> {
    const { window } = cursor;
    const name = foreignText(yield* cursor.name());
    yield* cursor.need(8);
    const [instance, version] = [window.uint32(), window.uint32(4)];
    window.advance(8);
    if (name === HTAB_SECTION && version !== 1) {
      throw cursor.refusal(`the table's section has version ${version}; only 1 is supported`, { byteOffset });
    }
    if (this.#sections.size === MAX_SECTIONS) {
      throw cursor.refusal(`there are more than ${MAX_SECTIONS} sections`, { byteOffset });
    }
    const state = { parts: 0, bytes: 0, complete: false };
    return { id, name, instance, version, iterable: type !== 'full', byteOffset, ...state };
  }

  /** Reads what ends a part. Machines older than QEMU 2.4 write nothing there. */
  *readFooter(cursor: StreamCursor, { id, name }: OpenSection): Steps {
    const { window } = cursor;
    const byteOffset = cursor.offset;
    yield* cursor.need(1);
    if (window.uint8() === MARK.footer) {
      yield* cursor.need(FOOTER_BYTES);
      const found = window.uint32(1);
      if (found !== id) throw cursor.refusal(`the footer is that of section ${found}, not ${id}`);
      window.advance(FOOTER_BYTES);
      return;
    }
    if (!(yield* beginsBetween(cursor, 0, this.has))) {
      throw cursor.refusal('the section does not end where its content does, and has no footer');
    }
    const message = `section ${name} has no footer: the devices cannot be told apart, and are not read`;
    this.#findings.add('no-footer', message, { byteOffset });
  }
}
