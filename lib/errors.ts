import { constants } from 'node:os';

/** Every `code` an error of this package carries. Codes and fields are API; messages are not. */
export type HtabErrorCode =
  | 'ERR_HTAB_SYSTEM'
  | 'ERR_HTAB_FORMAT'
  | 'ERR_HTAB_STATE'
  | 'ERR_HTAB_UNAVAILABLE'
  | 'ERR_HTAB_MIGRATION'
  | 'ERR_HTAB_VERIFY'
  | 'ERR_HTAB_IN_DOUBT';

// Registered symbols, so that `instanceof` also holds between two copies of the package in one process.
const brand = Symbol.for('kvm-htab.error');
const brandOf = (name: string): symbol => Symbol.for(`kvm-htab.error.${name}`);

function hasBrand(value: unknown, symbol: symbol): boolean {
  return typeof value === 'object' && value !== null && symbol in value;
}

/** Base of every error that is not a mistake of the caller's code (those are `TypeError` and `RangeError`). */
export class HtabError extends Error {
  readonly code: HtabErrorCode;

  constructor(code: HtabErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return hasBrand(value, this === HtabError ? brand : brandOf(this.name));
  }
}

/** Puts the class's name and brand on its prototype: neither shows among an error's own fields. */
function register(errorClass: { readonly name: string; readonly prototype: object }): void {
  Object.defineProperty(errorClass.prototype, 'name', { value: errorClass.name });
  Object.defineProperty(errorClass.prototype, brandOf(errorClass.name), { value: true });
}

/** What is known about a failed system call beyond its errno. */
export interface SystemErrorDetails {
  /** What was being done, in words: `write HPT record`. */
  readonly operation: string;
  /** First entry concerned. */
  readonly ptex?: number | undefined;
  /** Number of the record concerned, counted from 0 in the bytes given. */
  readonly recordIndex?: number | undefined;
  /** Bytes of whole records that the kernel took before it refused. */
  readonly bytesApplied?: number | undefined;
  /** What to do about it, or the likely cause. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** The kernel refused a call; the same class and fields whichever backend stands behind it. */
export class HtabSystemError extends HtabError {
  /** The kernel's number, positive: 22 for EINVAL. */
  readonly errno: number;
  /** The kernel's name for it, such as `EINVAL`; `errno 524` for a number that Node has no name for. */
  readonly errnoName: string;
  /** The call that failed: `read`, `write` or an ioctl's name such as `KVM_PPC_ALLOCATE_HTAB`. */
  readonly syscall: string;
  readonly operation: string;
  readonly ptex?: number;
  readonly recordIndex?: number;
  readonly bytesApplied?: number;
  readonly hint?: string;

  constructor(syscall: string, errnoName: string, details: SystemErrorDetails) {
    const place = [
      details.ptex === undefined ? undefined : `ptex ${details.ptex}`,
      details.recordIndex === undefined ? undefined : `record ${details.recordIndex}`,
      details.bytesApplied === undefined ? undefined : `${details.bytesApplied} bytes applied before it`,
    ].filter((part) => part !== undefined);
    super(
      'ERR_HTAB_SYSTEM',
      `${details.operation}: ${syscall} failed with ${errnoName}` +
        (place.length === 0 ? '' : ` (${place.join(', ')})`) +
        (details.hint === undefined ? '' : `; ${details.hint}`),
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.errno = errnoNumber(errnoName);
    this.errnoName = errnoName;
    this.syscall = syscall;
    this.operation = details.operation;
    if (details.ptex !== undefined) this.ptex = details.ptex;
    if (details.recordIndex !== undefined) this.recordIndex = details.recordIndex;
    if (details.bytesApplied !== undefined) this.bytesApplied = details.bytesApplied;
    if (details.hint !== undefined) this.hint = details.hint;
  }
}

/** Where in a stream of records something is wrong. */
export interface FormatErrorDetails {
  /** Offset of the offending bytes from the start of the stream. */
  readonly byteOffset: number;
  /** Number of the record, counted from 0. */
  readonly recordIndex: number;
  /** Entry concerned, where one is. */
  readonly ptex?: number | undefined;
  readonly cause?: unknown;
}

/**
 * Damaged or hostile bytes. Records before the one named here are right; of it, at most parts that came in earlier chunks
 * have been handed out.
 */
export class HtabFormatError extends HtabError {
  readonly byteOffset: number;
  readonly recordIndex: number;
  readonly ptex?: number;

  constructor(message: string, details: FormatErrorDetails) {
    const entry = details.ptex === undefined ? '' : `, ptex ${details.ptex}`;
    super(
      'ERR_HTAB_FORMAT',
      `${message} (record ${details.recordIndex} at byte ${details.byteOffset}${entry})`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.byteOffset = details.byteOffset;
    this.recordIndex = details.recordIndex;
    if (details.ptex !== undefined) this.ptex = details.ptex;
  }
}

/**
 * Why an object cannot do what was asked.
 *
 * - `closed`: it is on its way out, or gone.
 * - `busy`: another operation or another reader stands in the way.
 * - `lost`: something is gone that will not come again. A reader lost changes: only a new first pass helps. An encoder's
 *   sink threw; an image's memory was transferred away.
 * - `order-changed`: the table was replaced or resized under a reader.
 * - `would-crash`: the real kernel would crash on this call.
 */
export type HtabState = 'closed' | 'busy' | 'lost' | 'order-changed' | 'would-crash';

/** The call is right in itself but not in this state; see {@link HtabState}. */
export class HtabStateError extends HtabError {
  readonly state: HtabState;

  constructor(state: HtabState, message: string, options?: ErrorOptions) {
    super('ERR_HTAB_STATE', message, options);
    this.state = state;
  }
}

/** Why a backend cannot be had on this machine. */
export type UnavailableReason =
  | 'platform'
  | 'arch'
  | 'endianness'
  | 'no-prebuild'
  | 'dlopen'
  | 'no-device'
  | 'permission'
  | 'not-hv'
  | 'no-table'
  | 'unsupported';

/** A backend or a feature is not there; `hint` says what to do about it. */
export class HtabUnavailableError extends HtabError {
  readonly reason: UnavailableReason;
  readonly hint: string;

  constructor(reason: UnavailableReason, message: string, hint: string, options?: ErrorOptions) {
    super('ERR_HTAB_UNAVAILABLE', `${message}; ${hint}`, options);
    this.reason = reason;
    this.hint = hint;
  }
}

Object.defineProperty(HtabError.prototype, 'name', { value: 'HtabError' });
Object.defineProperty(HtabError.prototype, brand, { value: true });
for (const errorClass of [HtabSystemError, HtabFormatError, HtabStateError, HtabUnavailableError]) {
  register(errorClass);
}

/** True for every error class of this package, whichever copy of it made the error. */
export function isHtabError(value: unknown): value is HtabError {
  return hasBrand(value, brand);
}

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
