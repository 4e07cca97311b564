import { constants } from 'node:os';

/** Second names of numbers that the kernel's documentation calls EOPNOTSUPP, EAGAIN and EDEADLK. */
const ERRNO_ALIASES = new Set(['ENOTSUP', 'EWOULDBLOCK', 'EDEADLOCK']);

/**
 * The kernel's number for an errno name; the ones used here are the same on every Linux architecture.
 *
 * @param errnoName as {@link errnoName} gives it
 */
export function errnoNumber(errnoName: string): number {
  const unnamed = /^errno (\d+)$/.exec(errnoName)?.[1];
  const number =
    unnamed === undefined
      ? (constants.errno as Readonly<Record<string, number>>)[errnoName]
      : Number(unnamed);
  if (number === undefined) throw new RangeError(`${errnoName} is not an errno name of this platform`);
  return number;
}

/** The name of a positive errno number; `errno 524` for one that Node has no name for. */
export function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(
    ([name, number]) => number === errno && !ERRNO_ALIASES.has(name),
  );
  return found === undefined ? `errno ${errno}` : found[0];
}
