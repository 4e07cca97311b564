import { inspect, types } from 'node:util';

// Checks of what only callers without types can get wrong, and where it would go unnoticed. Their errors carry the name of
// the option or argument, in `option`.

/** Largest int of C: the last number that a descriptor or a process can have. */
export const INT_MAX = 2 ** 31 - 1;

/** A `TypeError` shaped like Node's own, for an argument of the right type that a call cannot take. */
export function invalidValueError(message: string, option?: string): TypeError {
  const fields = { code: 'ERR_INVALID_ARG_VALUE', ...(option !== undefined && { option }) };
  return Object.assign(new TypeError(message), fields);
}

/** A `TypeError` shaped like Node's own, for an argument of another type than a call takes. */
export function invalidTypeError(name: string, kind: string, received: unknown): TypeError {
  const shown = received === null ? 'null' : typeof received;
  return Object.assign(new TypeError(`The "${name}" argument must be ${kind}. Received ${shown}`), {
    code: 'ERR_INVALID_ARG_TYPE',
    option: name,
  });
}

/** A `RangeError` shaped like Node's own, for an argument outside what a call can take. */
export function outOfRangeError(name: string, range: string, received: unknown): RangeError {
  // As Node shows it: strings quoted, bigints with their n.
  const shown = inspect(received, { breakLength: Infinity });
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${shown}`),
    { code: 'ERR_OUT_OF_RANGE', option: name },
  );
}

/**
 * Refuses a value that is not one of these.
 *
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`)
 */
export function checkOneOf(name: string, value: unknown, allowed: readonly string[]): void {
  if (allowed.some((one) => one === value)) return;
  throw invalidValueError(
    `The "${name}" argument must be one of: ${allowed.join(', ')}. Received ${String(value)}`,
    name,
  );
}

/**
 * Refuses anything but a whole number within bounds.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`)
 */
export function checkInteger(name: string, value: unknown, min: number, max: number): void {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return;
  throw outOfRangeError(name, `an integer in ${min}..${max}`, value);
}

/**
 * Refuses anything but a number within bounds, whole or not.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`)
 */
export function checkNumber(name: string, value: unknown, min: number, max: number): void {
  if (typeof value === 'number' && value >= min && value <= max) return;
  throw outOfRangeError(name, `a number in ${min}..${max}`, value);
}

/**
 * Refuses anything but a string, and a string with a NUL: the kernel would take the part before it for the path.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`)
 */
export function checkPath(name: string, value: unknown): void {
  checkString(name, value);
  if (!(value as string).includes('\0')) return;
  throw invalidValueError(`The "${name}" argument must not contain a NUL`, name);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidTypeError(name, 'a function', value);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkBigint(name: string, value: unknown): void {
  if (typeof value !== 'bigint') throw invalidTypeError(name, 'a bigint', value);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalidTypeError(name, 'an object', value);
}

/** Whether this is an object with such a method. Its class does not matter: callers bring implementations of their own. */
export function hasMethod(value: unknown, name: string | symbol): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Record<string | symbol, unknown>)[name] === 'function'
  );
}

/**
 * Refuses an object without this method.
 *
 * @param kind what has this method, as `an HtabVm`
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`)
 */
export function checkMethod(name: string, value: unknown, method: string, kind: string): void {
  if (!hasMethod(value, method)) throw invalidTypeError(name, kind, value);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkString(name: string, value: unknown): void {
  if (typeof value !== 'string') throw invalidTypeError(name, 'a string', value);
}

/**
 * Refuses anything but bytes, and bytes whose memory has been transferred away: those look like an empty array.
 *
 * @param length what the array had when it was given
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`)
 */
export function checkBytes(name: string, value: unknown, length?: number): void {
  if (!types.isUint8Array(value)) throw invalidTypeError(name, 'a Uint8Array', value);
  const { length: left } = value;
  if (left === (length ?? left) && !(left === 0 && isDetached(value.buffer))) return;
  throw invalidValueError(`The memory of the "${name}" argument was transferred away or resized`, name);
}

function isDetached(memory: ArrayBufferLike): boolean {
  try {
    new Uint8Array(memory);
    return false;
  } catch {
    return true;
  }
}
