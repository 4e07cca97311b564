import { constants } from 'node:os';
import { HtabSystemError } from '../errors.js';

const hints: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: make room, or choose another one',
  EDQUOT: "the user's disk quota is used up",
  EFBIG: 'the file would be larger than the file system, or this process (ulimit -f), allows',
  EROFS: 'the file system is read-only',
};

/**
 * Awaits a call of `node:fs`; where the kernel refused it, the error is the one that all refusals of a kernel have.
 *
 * @param operation what is being done, in words
 */
export async function fileCall<T>(operation: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new HtabSystemError(error.syscall ?? 'file call', error.code, {
      operation,
      hint: hints[error.code],
      cause: error,
    });
  }
}

/** True for errors of system calls, false for those that Node itself makes (`ERR_...`). */
function isRefusal(error: unknown): error is { readonly code: string; readonly syscall?: string } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code in constants.errno
  );
}
