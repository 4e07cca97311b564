import { HtabSystemError } from '../errors.js';

/** Options by the names that the library's messages have for them. */
const LIBRARY_NAMES = /\b(maxOrder|minEntries|stopLimitMs)\b/g;

/** What is said of an error: its message, and those of what caused it as far as they add something. */
export function describeError(error: unknown): string {
  return messageOf(error).replaceAll(
    LIBRARY_NAMES,
    (name) => `--${name.replaceAll(/[A-Z]/g, '-$&').toLowerCase()}`,
  );
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const added = causesOf(error)
    .filter((cause) => !isSameRefusal(error, cause))
    .map(messageOf)
    .filter((text) => text !== '' && !error.message.includes(text));
  return [error.message, ...added].filter((text) => text !== '').join(': ');
}

function causesOf(error: Error): unknown[] {
  const causes = error instanceof AggregateError ? (error.errors as unknown[]) : [error.cause];
  return causes
    .flatMap((cause) => (cause instanceof AggregateError && cause.message === '' ? causesOf(cause) : [cause]))
    .filter((cause) => cause !== undefined);
}

/** Node's own error for a call that the kernel refused says nothing that ours, made of it, does not say. */
function isSameRefusal(error: Error, cause: unknown): boolean {
  return (
    error instanceof HtabSystemError &&
    cause instanceof Error &&
    'code' in cause &&
    cause.code === error.errnoName
  );
}
