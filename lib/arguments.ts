import { inspect, types } from 'node:util';

// Checks of what only callers without types can get wrong, and where it would go unnoticed.

/** A `TypeError` shaped like Node's own, for an argument that a call cannot take though its type is right. */
export function invalidValue(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}

/** A `TypeError` shaped like Node's own, for an argument of another type than a call takes. */
export function invalidType(name: string, kind: string, received: unknown): TypeError {
  const shown = received === null ? 'null' : typeof received;
  return Object.assign(new TypeError(`The "${name}" argument must be ${kind}. Received ${shown}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  });
}

/** A `RangeError` shaped like Node's own, for an argument outside what a call can take. */
export function outOfRange(name: string, range: string, received: unknown): RangeError {
  // As Node shows it: strings quoted, bigints with their n.
  const shown = inspect(received, { breakLength: Infinity });
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${shown}`),
    { code: 'ERR_OUT_OF_RANGE' },
  );
}

/**
 * Refuses a value that is none of those a call knows.
 *
 * @throws TypeError (`ERR_INVALID_ARG_VALUE`)
 */
export function checkOneOf(name: string, value: unknown, allowed: readonly string[]): void {
  if (allowed.some((one) => one === value)) return;
  throw invalidValue(
    `The "${name}" argument must be one of: ${allowed.join(', ')}. Received ${String(value)}`,
  );
}

/**
 * Refuses what is not a whole number within bounds.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`)
 */
export function checkInteger(name: string, value: unknown, min: number, max: number): void {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return;
  throw outOfRange(name, `an integer in ${min}..${max}`, value);
}

/**
 * Refuses what is not a string, and what a system call would take for another path: the kernel stops at a NUL.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`)
 */
export function checkPath(name: string, value: unknown): void {
  checkString(name, value);
  if (!(value as string).includes('\0')) return;
  throw invalidValue(`The "${name}" argument must not contain a NUL`);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidType(name, 'a function', value);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkBigint(name: string, value: unknown): void {
  if (typeof value !== 'bigint') throw invalidType(name, 'a bigint', value);
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalidType(name, 'an object', value);
}

/** Whether this is an object with such a method. Not its class counts: a caller's own implementation is as good as ours. */
export function hasMethod(value: unknown, name: string): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Record<string, unknown>)[name] === 'function'
  );
}

/**
 * Refuses an object without this method.
 *
 * @param kind what has this method, as `an HtabVm`
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`)
 */
export function checkMethod(name: string, value: unknown, method: string, kind: string): void {
  if (!hasMethod(value, method)) throw invalidType(name, kind, value);
}

/**
 * Refuses options that are no object, and the two that most calls have if they are of another type: that would show only
 * when they are first used.
 *
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`)
 */
export function checkOptions(options: unknown): void {
  checkObject('options', options);
  const { signal, onProgress } = options as Readonly<Record<'signal' | 'onProgress', unknown>>;
  if (signal !== undefined) checkMethod('signal', signal, 'throwIfAborted', 'an AbortSignal');
  if (onProgress !== undefined) checkFunction('onProgress', onProgress);
}

/**
 * An option's value, or its default.
 *
 * @throws RangeError (`ERR_OUT_OF_RANGE`) unless it is an integer in `min..max`
 */
export function integerOption(
  name: string,
  value: number | undefined,
  byDefault: number,
  min: number,
  max: number,
): number {
  if (value === undefined) return byDefault;
  checkInteger(name, value, min, max);
  return value;
}

/** @throws TypeError (`ERR_INVALID_ARG_TYPE`) */
export function checkString(name: string, value: unknown): void {
  if (typeof value !== 'string') throw invalidType(name, 'a string', value);
}

/**
 * Refuses what is not bytes, and bytes whose memory has been transferred away: those look like an empty array.
 *
 * @param length what the array had when it was given
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`)
 */
export function checkBytes(name: string, value: unknown, length?: number): void {
  if (!types.isUint8Array(value)) throw invalidType(name, 'a Uint8Array', value);
  const { length: left } = value;
  if (left === (length ?? left) && !(left === 0 && isDetached(value.buffer))) return;
  throw invalidValue(`The memory of the "${name}" argument was transferred away or resized`);
}

function isDetached(memory: ArrayBufferLike): boolean {
  try {
    new Uint8Array(memory);
    return false;
  } catch {
    return true;
  }
}
