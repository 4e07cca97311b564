import { open, readFile, realpath, rename, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { HtabSystemError } from '../errors.js';
import { systemCall } from '../node/system-call.js';
import { abandonedFiles, removeFiles, temporaryPath } from '../node/temporary-file.js';
import { migrationError } from './failure.js';
import { formatLine, LINE_START, parseLine, type Seal } from './journal-lines.js';
import { JournalEntries, type JournalEntry } from './journal.js';

const OWNER_ONLY = 0o600;
/** Nothing is appended to a journal that would be longer. */
const MAX_BYTES = 64 << 20;
/**
 * What is longer is no journal of ours. Beyond MAX_BYTES, because processes that see room for one more line at the same
 * moment all append theirs.
 */
const READABLE_BYTES = MAX_BYTES + (1 << 20);
const COMPACT_BYTES = 1 << 20;
const READ_BYTES = 64 << 10;
const NEWLINE = 10;

/**
 * The file of a journal: lines that are only ever appended, each in one write(2), by any number of processes. What
 * counts is what stands in it, in order.
 *
 * A file that has grown long is continued in a short one. Nobody can stop the others from appending, so that is done in
 * four steps of which each is whole or not at all: the short one is written under a name of its own; a line in the long
 * one, the seal, says which it is, and holds only if nothing has come between; whoever sees the seal gives the short one
 * the journal's name, which succeeds once; and whoever has appended behind the seal finds it there, and does so again.
 */
export class JournalLog {
  readonly #file: string;
  readonly #compactBytes: number;
  #handle: FileHandle;
  /** How much of the file has been read, up to the end of a line. */
  #position = 0;
  /** How long it was then. */
  #size = 0;
  /** What the lines come to. */
  entries = new JournalEntries();

  /**
   * @param compactBytes a shorter file is left to grow
   * @throws HtabSystemError if the file cannot be opened
   * @throws HtabError `ERR_HTAB_MIGRATION` if it is something else than a journal
   */
  static async open(name: string, compactBytes = COMPACT_BYTES): Promise<JournalLog> {
    const operation = `open the journal ${name}`;
    const handle = await systemCall(operation, open(name, 'a+', OWNER_ONLY));
    // What takes the file's place must not take that of a symbolic link.
    const file = await realpath(name).catch(() => name);
    const log = new JournalLog(handle, file, (await isMountPoint(file)) ? Infinity : compactBytes);
    try {
      await log.#checkStart();
      await systemCall(operation, handle.sync());
      // Before the file is read: what these processes have sealed, if anything, is there then, and is followed.
      const abandoned = await abandonedFiles(path.dirname(file), purposeOf(file));
      await log.#syncFolder();
      await log.readOn();
      await removeFiles(abandoned);
      return log;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  private constructor(handle: FileHandle, file: string, compactBytes: number) {
    this.#handle = handle;
    this.#file = file;
    this.#compactBytes = compactBytes;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /**
   * Appends a line, makes sure of it, and takes in what stands before it and itself.
   *
   * @param uncertain makes the error if nobody can know whether it counts: it has been written, and then something failed
   * @throws HtabSystemError, HtabError `ERR_HTAB_MIGRATION` if it was not taken: it does not count then
   */
  async append(line: JournalEntry, uncertain: (cause: unknown) => Error): Promise<void> {
    const bytes = formatLine(line);
    for (let counts = false; !counts;) {
      // Before it is written: a file that nobody could read afterwards would have it all the same.
      const size = await this.#sizeAtMost(MAX_BYTES - bytes.length);
      await this.#write(bytes).catch(async (error: unknown) => {
        // A disk that is written to at once (sync, NFS) can fail when the file has the bytes already.
        const isThere = error instanceof HtabSystemError && (await this.#hasGrownFrom(size));
        throw isThere ? uncertain(error) : error;
      });
      try {
        await systemCall(`write to the journal ${this.#file}`, this.#handle.datasync());
        counts = !(await this.readOn());
      } catch (error) {
        throw uncertain(error);
      }
    }
  }

  /**
   * Takes in the lines that have been written since, in whichever file.
   *
   * @returns whether the file that this began in has been continued in another
   */
  async readOn(): Promise<boolean> {
    let seal = await this.#readLines();
    const continued = seal !== undefined;
    for (; seal !== undefined; seal = await this.#readLines()) await this.#follow(seal);
    return continued;
  }

  /** Continues a file that has grown long in a short one, unless somebody writes to it just then. */
  async compact(): Promise<void> {
    await this.readOn();
    const size = this.#size;
    if (size < this.#compactBytes || this.entries.inDoubt) return;
    const lines = Buffer.concat(this.entries.worthKeeping().map(formatLine));
    if (lines.length > size / 2) return;
    const { uid, gid, mode } = await this.#handle.stat();
    // Somebody else's, whom a file of ours would lock out.
    if (uid !== process.geteuid?.()) return;
    const next = temporaryPath(path.dirname(this.#file), purposeOf(this.#file));
    try {
      await using file = await open(next, 'wx', OWNER_ONLY);
      await file.chown(uid, gid);
      await file.chmod(mode & 0o777);
      await file.writeFile(lines);
      await file.sync();
      await this.#syncFolder();
      await this.#write(formatLine({ continuedIn: path.basename(next), bytes: size }));
      await this.#handle.datasync();
    } finally {
      // If the seal holds, the file has its name by the end of this; if not, nobody will ever want it.
      await this.readOn();
      await removeFiles([next]);
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    const operation = `write to the journal ${this.#file}`;
    const { bytesWritten } = await systemCall(operation, this.#handle.write(bytes));
    if (bytesWritten === bytes.length) return;
    throw migrationError(
      `${operation}: only ${bytesWritten} of ${bytes.length} bytes were taken; is the disk full?`,
    );
  }

  async #hasGrownFrom(size: number): Promise<boolean> {
    return this.#handle.stat().then(
      (file) => file.size !== size,
      () => true,
    );
  }

  /**
   * How long the file is.
   *
   * @throws HtabError `ERR_HTAB_MIGRATION` if it is longer
   */
  async #sizeAtMost(longest: number): Promise<number> {
    const { size } = await systemCall(`read the journal ${this.#file}`, this.#handle.stat());
    if (size <= longest) return size;
    throw migrationError(
      `${this.#file} has ${size} bytes, and a journal gets no more than ${MAX_BYTES}: begin another one`,
    );
  }

  /** @returns the seal, if there is one that holds; nothing behind it counts */
  async #readLines(): Promise<Seal | undefined> {
    const operation = `read the journal ${this.#file}`;
    const size = await this.#sizeAtMost(READABLE_BYTES);
    this.#size = size;
    const buffer = Buffer.alloc(Math.min(READ_BYTES, Math.max(0, size - this.#position)));
    while (this.#position < size) {
      const { bytesRead } = await systemCall(
        operation,
        this.#handle.read(buffer, 0, buffer.length, this.#position),
      );
      const end = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      // Without a newline: what somebody is just writing, or, if the buffer is full of it, no line of ours.
      if (end === 0 && bytesRead < READ_BYTES) return undefined;
      for (const text of buffer.toString('latin1', 0, end).split('\n').slice(0, -1)) {
        const line = parseLine(text);
        if (line === 'damaged') this.entries.addDamaged();
        else if (line !== undefined && 'state' in line) this.entries.add(line);
        else if (line?.bytes === this.#position - LINE_START.length) return line;
        this.#position += text.length + 1;
      }
      if (end > 0) continue;
      this.entries.addDamaged();
      this.#position += bytesRead;
    }
    return undefined;
  }

  /** Goes on with the file that continues this one. */
  async #follow({ continuedIn }: Seal): Promise<void> {
    const operation = `continue the journal ${this.#file} in ${continuedIn}`;
    await systemCall(operation, rename(path.join(path.dirname(this.#file), continuedIn), this.#file)).catch(
      (error: unknown) => this.#checkRenamed(error),
    );
    // Also if another process has renamed it: what is written to it from here on must be found under this name.
    await this.#syncFolder();
    const handle = await systemCall(operation, open(this.#file, 'a+', OWNER_ONLY));
    const before = this.#handle;
    this.#handle = handle;
    this.#position = 0;
    this.entries = new JournalEntries();
    await before.close();
  }

  /** @throws `error` unless another process has renamed the file that continues this one */
  async #checkRenamed(error: unknown): Promise<void> {
    const [ours, named] = await Promise.all([this.#handle.stat(), stat(this.#file)]);
    if (ours.ino === named.ino && ours.dev === named.dev) throw error;
  }

  /** A file of somebody else's is not appended to, let alone continued in another. */
  async #checkStart(): Promise<void> {
    const start = Buffer.alloc(LINE_START.length);
    const { bytesRead } = await systemCall(
      `read the journal ${this.#file}`,
      this.#handle.read(start, 0, start.length, 0),
    );
    if (LINE_START.startsWith(start.toString('latin1', 0, bytesRead))) return;
    throw migrationError(`${this.#file} is no journal: it does not begin as one`);
  }

  async #syncFolder(): Promise<void> {
    const operation = `open the journal ${this.#file}`;
    const folder = await systemCall(operation, open(path.dirname(this.#file), 'r'));
    try {
      await systemCall(operation, folder.sync());
    } finally {
      await folder.close();
    }
  }
}

/** What its temporary files are called: those of a snapshot beside it are none of its own. */
function purposeOf(file: string): string {
  return `journal-${path.basename(file)}`;
}

/** Nothing can take the name of a file that is mounted by itself, as into a container. */
async function isMountPoint(file: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  // proc(5): the fifth field, with what would separate fields or lines in octal.
  const escaped = file.replace(
    /[\s\\]/g,
    (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return mounts.split('\n').some((line) => line.split(' ')[4] === escaped);
}
