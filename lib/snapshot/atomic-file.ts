import { invalidValueError } from '../base/arguments.js';
import { open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { systemCall } from '../base/system-call.js';
import { abandonedFiles, removeFiles, temporaryPath } from '../base/temporary-file.js';
import { tryBriefly, within } from '../base/time.js';

/** A guest's table shows where everything is in its memory: only the owner may read it. */
const OWNER_ONLY = 0o600;
const PURPOSE = 'kvm-htab';

interface Names {
  /** What the file is to be called; not a symbolic link. */
  readonly target: string;
  /** What it is called until it is whole. */
  readonly temporary: string;
  /** What is being done, for errors. */
  readonly operation: string;
}

/**
 * A file that is there whole or not at all: it is written under another name in the same folder, and gets its own only
 * once the disk has all of it. A crash at any moment leaves under the name what was there before, and at the most a file
 * `.kvm-htab-*.tmp` beside it, which the next file begun in this folder removes.
 */
export class AtomicFile {
  readonly #names: Names;
  readonly #file: FileHandle;
  readonly #signal: AbortSignal | undefined;
  /** The name it is being written under still exists. */
  #pending = true;

  /**
   * Begins a file. Nothing of the one that it will replace, if any, is touched.
   *
   * @param target its name; a symbolic link is followed
   * @param signal ends every call with its reason, also one that hangs with its disk
   * @param what it is, for messages
   * @throws TypeError if something else than a regular file has this name: it would be replaced, not written to
   * @throws HtabSystemError if the folder cannot be written to
   */
  static async create(target: string, signal?: AbortSignal, what = 'snapshot'): Promise<AtomicFile> {
    const operation = `write the ${what} ${target}`;
    const resolved = await resolve(target, operation);
    const folder = path.dirname(resolved);
    await removeFiles(await abandonedFiles(folder, PURPOSE));
    const temporary = temporaryPath(folder, PURPOSE);
    const file = await systemCall(operation, open(temporary, 'wx', OWNER_ONLY));
    return new AtomicFile({ target: resolved, temporary, operation }, file, signal);
  }

  private constructor(names: Names, file: FileHandle, signal: AbortSignal | undefined) {
    this.#names = names;
    this.#file = file;
    this.#signal = signal;
  }

  /** Appends all of these bytes. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let written = 0; written < bytes.length;) {
      const { bytesWritten } = await this.#call(this.#file.write(bytes, written));
      written += bytesWritten;
    }
  }

  /**
   * Gives the file its name, once all of it is on the disk; when this resolves, the name is there too.
   *
   * @throws HtabSystemError; {@link discard} then removes what there is, unless the file already has its name
   */
  async commit(): Promise<void> {
    await this.#call(this.#file.sync());
    await this.#call(this.#file.close());
    const { target, temporary } = this.#names;
    await this.#call(rename(temporary, target));
    this.#pending = false;
    const folder = await this.#call(open(path.dirname(target), 'r'));
    try {
      await this.#call(folder.sync());
    } finally {
      await folder.close();
    }
  }

  /**
   * Removes what has been written, unless it was committed. Never rejects, nor waits for a disk that hangs: the
   * error to report is the one that led here.
   */
  async discard(): Promise<void> {
    if (!this.#pending) return;
    this.#pending = false;
    await tryBriefly(() => this.#remove());
  }

  async #remove(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(this.#names.temporary, { force: true });
  }

  #call<T>(call: Promise<T>): Promise<T> {
    return within(systemCall(this.#names.operation, call), Infinity, this.#signal, () => undefined);
  }
}

/** The name that symbolic links lead to; of a file that does not exist, its own. */
async function resolve(target: string, operation: string): Promise<string> {
  const resolved = await realpath(target).catch(() => target);
  const there = await systemCall(
    operation,
    stat(resolved).catch((error: unknown) => {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
      throw error;
    }),
  );
  if (there === undefined || there.isFile()) return resolved;
  throw invalidValueError(
    `${target} is not a regular file; use another path, or a name that does not exist yet`,
  );
}
