import { HtabError, HtabSystemError } from '../../base/errors.js';
import { optionOf } from '../../base/for-option.js';
import { escapeText } from '../../base/foreign-text.js';

/**
 * The text for an error: the option that it is about, its message, and those of its causes that add something. On one line
 * and safe for a terminal: a message may hold the name of a file, or of a peer's certificate.
 */
export function describeError(error: unknown): string {
  return escapeText(textOf(error));
}

/** An option as the command line has it: `--max-order` for `maxOrder`; the address is an argument there. */
export function flagOf(option: string): string {
  if (option === 'address') return option;
  return `--${option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const option = optionOf(error);
  const added = causesOf(error)
    .filter((cause) => !isMadeOf(error, cause) && !error.message.includes(messageOf(cause)))
    .map(textOf);
  const text = [error.message, ...added].filter((each) => each !== '').join(': ');
  return option === undefined ? text : `${flagOf(option)}: ${text}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causesOf(error: Error): unknown[] {
  const causes = error instanceof AggregateError ? (error.errors as unknown[]) : [error.cause];
  return causes
    .flatMap((cause) => (cause instanceof AggregateError ? causesOf(cause) : [cause]))
    .filter((cause) => cause !== undefined);
}

/** Whether an error says all that its cause says: that is Node's own error for the call, or the same before it was explained. */
function isMadeOf(error: Error, cause: unknown): boolean {
  if (!(cause instanceof Error) || !('code' in cause)) return false;
  return error instanceof HtabSystemError
    ? cause.code === error.errnoName || (cause instanceof HtabSystemError && isSameCall(cause, error))
    : 'code' in error && cause.code === error.code && !(cause instanceof HtabError);
}

function isSameCall(a: HtabSystemError, b: HtabSystemError): boolean {
  return a.operation === b.operation && a.syscall === b.syscall && a.errnoName === b.errnoName;
}
