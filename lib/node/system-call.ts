import { constants } from 'node:os';
import { HtabSystemError } from '../errors.js';

/** What usually stands behind an errno, and what to do about it. */
export type Hints = Readonly<Record<string, string>>;

const FILE_HINTS: Hints = {
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'a part of the path is a file and no folder',
  EISDIR: 'it is a folder',
  EACCES: 'this user may not: look at the permissions of the file and its folders',
  ENOSPC: 'the disk is full: make room, or choose another one',
  EDQUOT: "the user's disk quota is used up",
  EFBIG: 'the file would be larger than the file system, or this process (ulimit -f), allows',
  EROFS: 'the file system is read-only',
};

/**
 * Awaits a call of `node:fs` or `node:net`; where the kernel refused it, the error is the one that all refusals of a
 * kernel have.
 *
 * @param operation what is being done, in words
 * @param hints those for files, if none are given
 */
export async function systemCall<T>(
  operation: string,
  call: Promise<T>,
  hints: Hints = FILE_HINTS,
): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new HtabSystemError(syscallOf(error), error.code, {
      operation,
      hint: hints[error.code],
      cause: error,
    });
  }
}

/** True for errors of system calls, false for those that Node itself makes (`ERR_...`). */
function isRefusal(error: unknown): error is NodeJS.ErrnoException & { readonly code: string } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code in constants.errno
  );
}

/** For a name with several addresses node:net throws one error with those of all addresses in it; only they have the call. */
function syscallOf(error: NodeJS.ErrnoException): string {
  const [first = error] = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [];
  return first.syscall ?? 'system call';
}
