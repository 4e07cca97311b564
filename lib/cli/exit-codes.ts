import { HtabError, HtabUnavailableError } from '../errors.js';
import { Interrupted } from './interrupt.js';
import { UsageError } from './usage-error.js';

/**
 * Exit codes of `kvm-htab`; part of its interface. 128 + n: ended by signal n.
 *
 * A process that ends with `inDoubt` leaves a guest stopped that may run elsewhere; one that ends with `stopped`, a guest
 * that is here, unharmed, and could not be resumed.
 */
export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  usage: 2,
  unavailable: 3,
  inDoubt: 4,
  stopped: 5,
} as const;

/** The exit code for an error that ended a command. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode;
  if (error instanceof UsageError) return EXIT_CODES.usage;
  if (!(error instanceof HtabError)) return EXIT_CODES.failed;
  if (error instanceof HtabUnavailableError) {
    return error.reason === 'refused' ? EXIT_CODES.failed : EXIT_CODES.unavailable;
  }
  if (error.code === 'ERR_HTAB_GUEST_STOPPED') return EXIT_CODES.stopped;
  return error.code === 'ERR_HTAB_IN_DOUBT' ? EXIT_CODES.inDoubt : EXIT_CODES.failed;
}
