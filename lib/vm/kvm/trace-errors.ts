import { readFile } from 'node:fs/promises';
import { HtabSystemError, HtabUnavailableError } from '../../base/errors.js';

const SCOPE_FILE = '/proc/sys/kernel/yama/ptrace_scope';

/** This user may not trace the process: why, as far as the kernel says it, and what to do. */
export async function notPermittedError(pid: number, cause: unknown): Promise<HtabUnavailableError> {
  const scope = (await readFile(SCOPE_FILE, 'utf8').catch(() => 'not there')).trim();
  const hint =
    scope === '3'
      ? `${SCOPE_FILE} is 3, which forbids it to everyone until the next boot`
      : `run as root (CAP_SYS_PTRACE), or as the user of the process where ${SCOPE_FILE} is 0 (it is ${scope}). If root is ` +
        'refused too, a security module or the container forbids it';
  return new HtabUnavailableError('permission', `this user may not trace process ${pid}`, hint, { cause });
}

/**
 * What a refusal of the tracer means.
 *
 * @returns undefined where another thread, or the same one later, may serve
 */
export async function traceError(pid: number, error: unknown): Promise<unknown> {
  if (!(error instanceof HtabSystemError)) return error;
  const { syscall, errnoName } = error;
  if (syscall === 'PTRACE_SEIZE' || (syscall === 'pidfd_getfd' && errnoName === 'EPERM')) {
    return errnoName === 'ESRCH' ? undefined : notPermittedError(pid, error);
  }
  if (syscall === 'PTRACE_INTERRUPT') return undefined;
  if (syscall !== 'PTRACE_O_SUSPEND_SECCOMP') return error;
  return new HtabUnavailableError(
    'seccomp',
    `a seccomp filter judges the system calls of process ${pid}, and may kill it for one that it does not expect ` +
      `(${syscall}: ${errnoName})`,
    'run with CAP_SYS_ADMIN and without a filter of your own: then the filter is suspended for the moment',
    { cause: error },
  );
}
