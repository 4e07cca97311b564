import { open, realpath, rename, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { HtabSystemError } from '../../base/errors.js';
import { isMountPoint } from '../../base/mount-point.js';
import { systemCall } from '../../base/system-call.js';
import { sleep } from '../../base/time.js';
import { abandonedFiles, removeFiles, temporaryPath } from '../../base/temporary-file.js';
import { migrationError } from '../errors.js';
import type { JournalEntries } from './journal-entries.js';
import { formatLine, type Seal } from './journal-lines.js';
import { JournalReader } from './journal-reader.js';
import type { JournalEntry } from './journal.js';

const OWNER_ONLY = 0o600;
/** Nothing is appended to a journal that would be longer. */
const MAX_BYTES = 64 << 20;
/**
 * What is longer is no journal of ours. Beyond MAX_BYTES, because processes that see room for one more line at the same
 * moment all append theirs.
 */
const READABLE_BYTES = MAX_BYTES + (1 << 20);
/** Bytes at the start of the file that show whether it is a journal. */
const START_BYTES = 64;
const COMPACT_BYTES = 1 << 20;
/** A write of one line takes no longer, unless its process does not run. */
const SETTLE_MS = 20;

/**
 * The file of a journal: lines that are only ever appended, each in one write(2), by any number of processes. What
 * counts is what stands in it, in order.
 *
 * A file that has grown long is continued in a short one. Other processes cannot be stopped from appending, so that is done in
 * four steps of which each is whole or not at all: the short one is written under a name of its own; a line in the long
 * one, the seal, says which it is, and holds only if nothing has come between; a process that sees the seal gives the short one
 * the journal's name, which succeeds once; and one that has appended after the seal finds it there, and appends again.
 */
export class JournalLog {
  readonly #file: string;
  readonly #compactBytes: number;
  #handle: FileHandle;
  #reader: JournalReader;

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
    this.#reader = new JournalReader(file);
    this.#compactBytes = compactBytes;
  }

  /** What the lines say together. */
  get entries(): JournalEntries {
    return this.#reader.entries;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /**
   * Appends and syncs a line, then reads up to and including it.
   *
   * @param uncertain makes the error if it cannot be known whether the line counts: it has been written, and then something failed
   * @throws HtabSystemError, HtabError `ERR_HTAB_MIGRATION` if it was not taken: it does not count then
   */
  async append(line: JournalEntry, uncertain: (cause: unknown) => Error): Promise<void> {
    const bytes = formatLine(line);
    for (let counts = false; !counts;) {
      // Before the write: the line would count even if the file had grown too long to be read.
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
    let continued = false;
    for (;;) {
      const size = await this.#sizeAtMost(READABLE_BYTES);
      const seal = await this.#reader.readTo(size, this.#handle);
      if (seal !== undefined) {
        await this.#follow(seal);
        continued = true;
      } else if (this.#reader.isSettled) {
        return continued;
      } else {
        // Another process may be just writing what the file ends in.
        await sleep(SETTLE_MS);
      }
    }
  }

  /** Continues a file that has grown long in a short one, unless another process writes to it just then. */
  async compact(): Promise<void> {
    await this.readOn();
    const { size } = this.#reader;
    if (size < this.#compactBytes || !this.entries.isWhole) return;
    const lines = Buffer.concat(this.entries.worthKeeping().map(formatLine));
    if (lines.length > size / 2) return;
    const { uid, gid, mode } = await this.#handle.stat();
    // Another user's, whom a file of ours would lock out.
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
      // If the seal holds, this gives the file the journal's name; if not, nothing needs the file.
      await this.readOn();
      await removeFiles([next]);
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    const operation = `write to the journal ${this.#file}`;
    const { bytesWritten } = await systemCall(operation, this.#handle.write(bytes));
    if (bytesWritten === bytes.length) return;
    throw migrationError(
      `${operation}: only ${bytesWritten} of ${bytes.length} bytes were written; check that the disk is not full`,
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
      `${this.#file} has ${size} bytes, and a journal at most ${MAX_BYTES}; move it away, and begin another one`,
    );
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
    if (await isSameFile(handle, this.#handle)) {
      await handle.close();
      throw migrationError(
        `${operation}: it is the same file, so its seal at ${this.#reader.place} is wrong; ` +
          'move the journal away, and ask the other side about the migrations it leaves open',
      );
    }
    const before = this.#handle;
    this.#handle = handle;
    this.#reader = new JournalReader(this.#file);
    await before.close();
  }

  /** @throws `error` unless another process has renamed the file that continues this one */
  async #checkRenamed(error: unknown): Promise<void> {
    const [ours, named] = await Promise.all([this.#handle.stat(), stat(this.#file)]);
    if (ours.ino === named.ino && ours.dev === named.dev) throw error;
  }

  /** Another user's file is not appended to, let alone continued in another. */
  async #checkStart(): Promise<void> {
    const start = Buffer.alloc(START_BYTES);
    const { bytesRead } = await systemCall(
      `read the journal ${this.#file}`,
      this.#handle.read(start, 0, start.length, 0),
    );
    const begin = start.toString('latin1', 0, bytesRead);
    // More than one: the first write was cut after one byte.
    if (/^#*(?:\n|$)/.test(begin) && !begin.startsWith('\n')) return;
    throw migrationError(
      `${this.#file} is not a journal, or its first line is damaged; check the path. Before you begin another one, ask the other side about the migrations in it`,
    );
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

async function isSameFile(a: FileHandle, b: FileHandle): Promise<boolean> {
  const [ours, theirs] = await Promise.all([a.stat(), b.stat()]);
  return ours.ino === theirs.ino && ours.dev === theirs.dev;
}

/** What its temporary files are called: those of a snapshot beside it are none of its own. */
function purposeOf(file: string): string {
  return `journal-${path.basename(file)}`;
}
