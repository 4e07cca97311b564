import { constants } from 'node:os';
import { HtabSystemError } from './errors.js';

/** The likely cause of an errno and what to do about it; by call, or for every other call by `*`. */
const HINTS: Readonly<Record<string, string>> = {
  '* ENOENT': 'there is no such file or folder; check the path',
  '* ENOTDIR': 'a part of the path is a file, not a folder; check the path',
  '* EISDIR': 'this is a folder; give the path of a file',
  '* EACCES': 'permission denied; check the permissions of the file and its folders',
  '* EPIPE': 'the program that reads it has ended; check that one',
  '* ENOSPC': 'the disk is full; free some space, or use another disk',
  '* EDQUOT': "the user's disk quota is used up; free some space, or raise the quota",
  '* EFBIG':
    'the file would be too large for its file system, or for the limit of this process; raise the limit (ulimit -f)',
  '* EIO': 'the disk has failed; check it, and the log of the kernel',
  '* EROFS': 'the file system is read-only; use a path on another one',
  'connect ENOENT': 'there is no socket at this path; check the path, and that its process is running',
  'connect ECONNREFUSED': 'no process listens there; check the address, and that its process is running',
  'connect EACCES': 'this user may not connect; run as the user that listens there, or join its group',
  'connect ENOTSOCK': 'this is not a socket; check the path',
  'connect EAGAIN': 'the process that listens there accepts no connections; check that it is not hung',
  'connect EHOSTUNREACH': 'the host cannot be reached; check that it is up, and its firewall',
  'connect ENETUNREACH': 'this machine has no route to that network; check the address and the routes',
  'listen EADDRINUSE':
    'another process listens there, or a file has this path; use another address, or remove the file',
  'listen EADDRNOTAVAIL': 'this machine does not have this address; use one of its own',
  'listen EACCES':
    'for a Unix socket, its folder must exist, and this user must be allowed to write to it; a port below 1024 needs root',
};

/**
 * Awaits a call of `node:fs` or `node:net`. If the kernel refuses it, the error is an `HtabSystemError`, as for every call
 * that a kernel refuses.
 *
 * @param operation what is being done, in words
 */
export async function systemCall<T>(operation: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const syscall = syscallOf(error);
    const hint = HINTS[`${syscall} ${error.code}`] ?? HINTS[`* ${error.code}`];
    throw new HtabSystemError(syscall, error.code, { operation, hint, cause: error });
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

/** For a host with several addresses, node:net throws one error that contains one for each; only these name the call. */
function syscallOf(error: NodeJS.ErrnoException): string {
  const [first = error] = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [];
  return first.syscall ?? 'system call';
}
