import { errnoName } from '../base/errno.js';
import { HtabSystemError, type RecordPlace } from '../base/errors.js';
import { hintFor } from './hints.js';

/** A kernel's own answer to a call: its return value, or minus the errno. */
export type CallResult = number;

/** How a call fails, whichever backend makes it: the promises of the addon reject with this. */
export interface CallFailure extends RecordPlace {
  /** Positive, as errno is. */
  readonly errno: number;
  /** Name of the call, or of the ioctl's request. */
  readonly syscall: string;
}

/**
 * The value that an emulated kernel answered.
 *
 * @throws CallFailure for minus an errno
 */
export function checkResult(syscall: string, result: CallResult): number {
  if (result >= 0) return result;
  throw Object.assign(new Error(`${syscall} failed`), { errno: -result, syscall });
}

/**
 * Makes a backend's call. If it fails, the error says what was tried and what to do.
 *
 * @param operation what is being done, in words
 * @throws HtabSystemError for a {@link CallFailure}
 */
export async function attempt<T>(operation: string, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw isCallFailure(error) ? systemError(operation, error) : error;
  }
}

/** The error for a failed call, with the place and the hint that are known. */
export function systemError(
  operation: string,
  { errno, syscall, ptex, recordIndex, bytesApplied }: CallFailure,
  hint?: string,
): HtabSystemError {
  const name = errnoName(errno);
  return new HtabSystemError(syscall, name, {
    ...{ operation, ptex, recordIndex, bytesApplied },
    hint: hint ?? hintFor(syscall, name, recordIndex),
  });
}

/** Whether a call failed, here or in a VM that another one wraps. */
export function isCallFailure(error: unknown): error is Error & CallFailure {
  return error instanceof Error && 'errno' in error && 'syscall' in error;
}
