import type { FileHandle } from 'node:fs/promises';
import { systemCall } from '../../base/system-call.js';
import type { JournalFault } from './journal-damage.js';
import { JournalEntries } from './journal-entries.js';
import { cutIn, isCut, LINE_START, parseLine, type Seal } from './journal-lines.js';

const READ_BYTES = 64 << 10;
const NEWLINE = 10;

/** Reads one file of a journal, as it grows. */
export class JournalReader {
  /** What the lines say together. */
  readonly entries: JournalEntries;
  /** How long the file was when it was last read. */
  size = 0;
  /** Whether nothing was being written when it was first read: it ended in the end of a line, or twice in the same. */
  isSettled = true;
  readonly #file: string;
  /** How much has been read, up to the end of a line. */
  #position = 0;
  /** Lines in it. */
  #lines = 0;
  /** Whether the last one is the start of another, which is not there yet. */
  #started = false;
  /** What stands after it. */
  #tail = '';
  /** How long the file was at its first read that found nothing being written. */
  #firstSize: number | undefined;

  constructor(file: string) {
    this.#file = file;
    this.entries = new JournalEntries(file);
  }

  /** Where the next line is, in words. */
  get place(): string {
    return `line ${this.#lines + 1} (byte ${this.#position})`;
  }

  /**
   * Takes in what has been written since.
   *
   * @param size of the file
   * @returns the seal, if there is one that holds; nothing after it counts
   */
  async readTo(size: number, handle: FileHandle): Promise<Seal | undefined> {
    const [position, tail] = [this.#position, this.#tail];
    const seal = await this.#readLines(size, handle);
    this.size = size;
    if (seal !== undefined) return seal;
    const ends = this.#tail === '' && !this.#started;
    if (ends || (this.#position === position && this.#tail === tail)) this.#firstSize ??= size;
    this.isSettled = this.#firstSize !== undefined;
    this.entries.tail = ends || !this.isSettled ? undefined : this.#faultOfTail();
    return undefined;
  }

  async #readLines(size: number, handle: FileHandle): Promise<Seal | undefined> {
    this.#tail = '';
    const buffer = Buffer.alloc(Math.min(READ_BYTES, Math.max(0, size - this.#position)));
    while (this.#position < size) {
      const { bytesRead } = await systemCall(
        `read the journal ${this.#file}`,
        handle.read(buffer, 0, buffer.length, this.#position),
      );
      const end = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      this.#tail = buffer.toString('latin1', end, bytesRead);
      if (end === 0 && bytesRead < READ_BYTES) return undefined;
      for (const text of buffer.toString('latin1', 0, end).split('\n').slice(0, -1)) {
        const seal = this.#takeLine(text);
        if (seal !== undefined) return seal;
      }
      if (end > 0) continue;
      // The buffer is full of it: no line of ours.
      this.entries.addFault(this.#fault('damaged'));
      this.#position += bytesRead;
      this.#tail = '';
    }
    return undefined;
  }

  /** @returns the seal, if the line is one that holds */
  #takeLine(text: string): Seal | undefined {
    const cut = cutIn(text);
    if (cut !== undefined) {
      const isStart = cut === '' && !this.#started;
      if (!isStart && this.#hides(cut)) this.entries.addFault(this.#fault('cut'));
      this.#started = true;
    } else {
      const line = parseLine(text);
      if (line === 'damaged') this.entries.addFault(this.#fault('damaged'));
      else if ('state' in line) this.entries.add(line, this.#lines + 1);
      else if (line.bytes === this.#position - LINE_START.length) return line;
      this.#started = false;
    }
    this.#position += text.length + 1;
    this.#lines++;
    return undefined;
  }

  #faultOfTail(): JournalFault | undefined {
    if (!isCut(this.#tail)) return this.#fault('damaged');
    return this.#hides(this.#tail) ? this.#fault('cut') : undefined;
  }

  /**
   * Whether something may have been lost with the end of this line. Not if it was cut while this process had the file
   * open: then its writer has failed or died, and has told nothing. And a first line of which not even the start is whole
   * leaves an empty journal, as a file does that was cut to nothing.
   */
  #hides(cut: string): boolean {
    const begin = this.#position - (this.#started ? LINE_START.length : 0);
    const isLate = this.#firstSize !== undefined && begin >= this.#firstSize;
    return !isLate && !(this.entries.isEmpty && /^#*$/.test(cut));
  }

  #fault(kind: JournalFault['kind']): JournalFault {
    return { kind, line: this.#lines + 1, byteOffset: this.#position };
  }
}
