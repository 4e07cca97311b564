import type { HptTable } from '../../hpt/table.js';
import { type Configuration, readConfiguration } from './configuration.js';
import { readDescription } from './description.js';
import { skipDevice } from './device-section.js';
import { Findings } from './findings.js';
import { type HtabCounts, HtabSection } from './htab-section.js';
import {
  COMMANDS,
  HTAB_SECTION,
  MARK,
  PRECOPY_COMMANDS,
  RAM_SECTION,
  STREAM_MAGIC,
  STREAM_VERSION,
  type QemuPart,
  type QemuRam,
  type QemuSection,
} from './layout.js';
import { RamSection } from './ram-section.js';
import { type OpenSection, type PartType, SectionList } from './section-list.js';
import { type Steps, StreamCursor } from './stream-cursor.js';

const PAGE_BYTES = 4096;

/** What a user of a parser wants to know while the stream comes. */
export interface PartEvents {
  /** The header of a part has been read, the next byte is its payload. */
  readonly onPayload?: (part: Omit<QemuPart, 'payloadEnd'>) => void;
  /** The payload of a part has been read, the next byte is its footer. */
  readonly onPart?: (part: QemuPart) => void;
  /** All memory and all of the table should have come. The next byte is the first of a device's, or the stream's end. */
  readonly onDevices?: () => void;
}

const PART_TYPES: Readonly<Record<number, PartType>> = {
  [MARK.start]: 'start',
  [MARK.part]: 'part',
  [MARK.end]: 'end',
  [MARK.full]: 'full',
};

/**
 * Reads a migration stream as it comes, in chunks cut anywhere, and folds the page table in it.
 *
 * Every method throws `HtabFormatError` where the stream cannot be read on, with the section and the offset in the stream.
 */
export class QemuStreamParser {
  readonly findings = new Findings();
  readonly configuration: Configuration = { machine: '', capabilities: [], pageBytes: PAGE_BYTES };
  readonly commands = new Set<string>();
  readonly #cursor = new StreamCursor();
  readonly #htab = new HtabSection(this.findings);
  readonly #sections = new SectionList(this.findings);
  readonly #events: PartEvents;
  readonly #steps: Steps;
  #ram: RamSection | undefined;
  /** All memory, and all of the table, should have come: the guest stands still. */
  #devicesBegun = false;
  #done = false;
  #atEnd = false;
  #received = 0;

  constructor(events: PartEvents = {}) {
    this.#events = events;
    this.#steps = this.#read();
  }

  get table(): HptTable | undefined {
    return this.#htab.table;
  }

  get htabCounts(): HtabCounts {
    return this.#htab.counts;
  }

  get ram(): QemuRam | undefined {
    return this.#ram?.summary;
  }

  get sections(): QemuSection[] {
    return this.#sections.list;
  }

  /** Offset of the next byte to read; once all of the stream has been read, of its end. */
  get offset(): number {
    return this.#cursor.offset;
  }

  /** The mark that ends the sections has come, or what follows cannot be told: the guest may be whole with this chunk. */
  get atEnd(): boolean {
    return this.#atEnd || this.#done;
  }

  /** A destination that has all bytes that have come may have all of the guest; {@link atEnd} may need one more to be sure. */
  get mayBeWhole(): boolean {
    return this.atEnd || this.#cursor.mayBeWhole;
  }

  /** All of the stream has been read, with the description of devices at its end. */
  get done(): boolean {
    return this.#done;
  }

  /** Bytes that have come, of the stream and after it. */
  get receivedBytes(): number {
    return this.#received;
  }

  /** Bytes that have come after the end of the stream. */
  get trailingBytes(): number {
    return this.#done ? this.#received - this.offset : 0;
  }

  /** Bytes, from the next on, that the parser will not look at: a source may pass over them, and tell {@link passed}. */
  get owed(): number {
    return this.#cursor.window.owed;
  }

  /** Takes the next bytes of the stream. They must not change until the next call. */
  push(chunk: Uint8Array): void {
    this.#received += chunk.length;
    if (this.#done) return;
    const { window } = this.#cursor;
    window.push(chunk);
    if (window.owed === 0) this.#step();
  }

  /** Tells that the source has passed over the next bytes. */
  passed(count: number): void {
    this.#received += count;
    const { window } = this.#cursor;
    window.passed(count);
    if (window.owed === 0) this.#step();
  }

  /** Ends the stream. */
  finish(): void {
    this.#cursor.ended = true;
    if (!this.#done) this.#step();
  }

  #step(): void {
    this.#done = this.#steps.next().done === true;
  }

  *#read(): Steps {
    const cursor = this.#cursor;
    const { window } = cursor;
    const isTooShort = !(yield* cursor.look(8));
    if (isTooShort) {
      throw cursor.refusal(`this is not a migration stream of QEMU: it has ${window.available} bytes`);
    }
    if (window.uint32() !== STREAM_MAGIC) throw cursor.refusal('this is not a migration stream of QEMU');
    if (window.uint32(4) !== STREAM_VERSION) {
      throw cursor.refusal(`the stream has version ${window.uint32(4)}; only ${STREAM_VERSION} is supported`);
    }
    window.advance(8);
    for (;;) {
      yield* cursor.need(1);
      const mark = window.uint8();
      const type = PART_TYPES[mark];
      if (mark === MARK.full || mark === MARK.eof) this.#beginDevices();
      if (mark === MARK.eof) break;
      if (mark === MARK.configuration) yield* this.#readConfiguration();
      else if (mark === MARK.command) yield* this.#readCommand();
      else if (type === undefined) throw cursor.refusal(`byte 0x${mark.toString(16)} begins no section`);
      else if (!(yield* this.#readPart(type))) return;
    }
    window.advance(1);
    this.#atEnd = true;
    yield* readDescription(cursor, this);
  }

  *#readConfiguration(): Steps {
    if (this.sections.length > 0)
      throw this.#cursor.refusal('a configuration stands after the first section');
    this.#cursor.window.advance(1);
    yield* readConfiguration(this.#cursor, this.configuration);
  }

  *#readCommand(): Steps {
    const cursor = this.#cursor;
    cursor.section = 'command';
    yield* cursor.need(5);
    const number = cursor.window.uint32(1) >>> 16;
    const name = COMMANDS[number];
    if (name === undefined || !PRECOPY_COMMANDS.has(name)) {
      const shown = name === undefined ? '' : ` (${name})`;
      throw cursor.refusal(`command ${number}${shown} cannot be read: migrate without postcopy and COLO`);
    }
    this.commands.add(name);
    yield* cursor.skip(5 + (cursor.window.uint32(1) & 0xffff));
  }

  /** Reads one part of a section; false if what follows cannot be read. */
  *#readPart(type: PartType): Steps<boolean> {
    const cursor = this.#cursor;
    const byteOffset = cursor.offset;
    const section = yield* this.#sections.readHeader(cursor, type);
    this.#checkPlace(section, byteOffset);
    const payloadOffset = cursor.offset;
    this.#events.onPayload?.({ section, type, payloadOffset });
    if (!(yield* this.#readPayload(section))) return false;
    const payloadEnd = cursor.offset;
    section.parts++;
    section.bytes += payloadEnd - payloadOffset;
    section.complete = type === 'end' || type === 'full';
    this.#events.onPart?.({ section, type, payloadOffset, payloadEnd });
    yield* this.#sections.readFooter(cursor, section);
    return true;
  }

  *#readPayload({ id, name }: OpenSection): Steps<boolean> {
    const cursor = this.#cursor;
    if (name === RAM_SECTION) {
      this.#ram ??= new RamSection(this.configuration);
      yield* this.#ram.read(cursor);
    } else if (name === HTAB_SECTION) {
      yield* this.#htab.read(cursor);
    } else {
      if (this.findings.has('no-footer')) return false;
      yield* skipDevice(cursor, id, this.#sections.has);
    }
    return true;
  }

  #beginDevices(): void {
    if (this.#devicesBegun) return;
    this.#devicesBegun = true;
    this.#checkTable();
    this.#events.onDevices?.();
  }

  #checkPlace(section: OpenSection, byteOffset: number): void {
    if (section.name !== HTAB_SECTION || (!this.#devicesBegun && !section.complete)) return;
    this.findings.add('late-table', 'a part of the table comes after its end, or after the first device', {
      byteOffset,
    });
  }

  /** Looks at what has come of the table where all of it should have. */
  #checkTable(): void {
    const [{ htab }, place] = [this.#sections, { byteOffset: this.#cursor.offset }];
    if (htab === undefined) {
      this.findings.add('no-table', 'the stream has no page table: it is not that of a pseries guest', place);
    } else if (!htab.complete && !this.findings.has('radix')) {
      this.findings.add('no-end', 'the last part of the table is missing: the table is not whole', place);
    }
  }
}
