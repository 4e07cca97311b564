import { HtabError, HtabUnavailableError } from '../../base/errors.js';
import { Interrupted } from '../interrupt.js';
import { optionOf } from '../../base/for-option.js';
import { UsageError } from './usage-error.js';

/**
 * Exit codes of `kvm-htab`; part of its interface. 128 + n: ended by signal n.
 *
 * A process that ends with `inDoubt` leaves a guest stopped that may run elsewhere; one that ends with `stopped`, a guest
 * that is here and unharmed: stopped, as it could not be resumed; or it has moved here and is not known to run.
 */
export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  usage: 2,
  unavailable: 3,
  inDoubt: 4,
  stopped: 5,
} as const;

/** Whether the command line is wrong: so says the command, or the library of the value of an option. */
export function isUsageError(error: unknown): boolean {
  if (error instanceof UsageError) return true;
  return (error instanceof TypeError || error instanceof RangeError) && optionOf(error) !== undefined;
}

/** The exit code for an error that ended a command. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode;
  if (isUsageError(error)) return EXIT_CODES.usage;
  if (!(error instanceof HtabError)) return EXIT_CODES.failed;
  if (error instanceof HtabUnavailableError) {
    return error.reason === 'refused' ? EXIT_CODES.failed : EXIT_CODES.unavailable;
  }
  if (error.code === 'ERR_HTAB_GUEST_STOPPED') return EXIT_CODES.stopped;
  return error.code === 'ERR_HTAB_IN_DOUBT' ? EXIT_CODES.inDoubt : EXIT_CODES.failed;
}
