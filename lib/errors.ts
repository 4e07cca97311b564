import { constants } from 'node:os';

/** Every `code` an error of this package carries. Codes and fields are API; messages are not. */
export type HtabErrorCode =
  | 'ERR_HTAB_SYSTEM'
  | 'ERR_HTAB_FORMAT'
  | 'ERR_HTAB_STATE'
  | 'ERR_HTAB_UNAVAILABLE'
  | 'ERR_HTAB_MIGRATION'
  | 'ERR_HTAB_VERIFY'
  | 'ERR_HTAB_IN_DOUBT'
  | 'ERR_HTAB_GUEST_STOPPED';

// Registered symbols, so that `instanceof` also holds between two copies of the package in one process.
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
    const brand = brandOf(this.name);
    // A class that others derive from these has no brand of its own.
    return Object.hasOwn(this.prototype, brand)
      ? hasBrand(value, brand)
      : Function.prototype[Symbol.hasInstance].call(this, value);
  }
}

/** Puts the class's name and brand on its prototype: neither shows among an error's own fields. */
function register(errorClass: { readonly name: string; readonly prototype: object }): void {
  Object.defineProperty(errorClass.prototype, 'name', { value: errorClass.name });
  Object.defineProperty(errorClass.prototype, brandOf(errorClass.name), { value: true });
}

/** Where among records something went wrong, and how much had been done by then. */
export interface RecordPlace {
  /** First entry concerned. */
  readonly ptex?: number | undefined;
  /** Number of the record concerned, counted from 0 in the bytes given. */
  readonly recordIndex?: number | undefined;
  /** Bytes of whole records that the kernel took before this one. */
  readonly bytesApplied?: number | undefined;
}

/** What is known about a failed system call beyond its errno. */
export interface SystemErrorDetails extends RecordPlace {
  /** What was being done, in words: `write HPT record`. */
  readonly operation: string;
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
  // Declared, not defined: a field that is not known does not show.
  declare readonly ptex?: number;
  declare readonly recordIndex?: number;
  declare readonly bytesApplied?: number;
  declare readonly hint?: string;

  constructor(syscall: string, errnoName: string, details: SystemErrorDetails) {
    super(
      'ERR_HTAB_SYSTEM',
      `${details.operation}: ${syscall} failed with ${errnoName}${placeText(details)}` +
        (details.hint === undefined ? '' : `; ${details.hint}`),
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.errno = errnoNumber(errnoName);
    this.errnoName = errnoName;
    this.syscall = syscall;
    this.operation = details.operation;
    setPlace(this, details);
    if (details.hint !== undefined) this.hint = details.hint;
  }
}

function placeText({ ptex, recordIndex, bytesApplied }: RecordPlace): string {
  const place = [
    ptex === undefined ? [] : `ptex ${ptex}`,
    recordIndex === undefined ? [] : `record ${recordIndex}`,
    bytesApplied === undefined ? [] : `${bytesApplied} bytes applied before it`,
  ].flat();
  return place.length === 0 ? '' : ` (${place.join(', ')})`;
}

function setPlace(
  error: { -readonly [Field in keyof RecordPlace]: number },
  { ptex, recordIndex, bytesApplied }: RecordPlace,
): void {
  if (ptex !== undefined) error.ptex = ptex;
  if (recordIndex !== undefined) error.recordIndex = recordIndex;
  if (bytesApplied !== undefined) error.bytesApplied = bytesApplied;
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
  declare readonly ptex?: number;

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
 *   sink threw; an image's memory was transferred away; a write took a part of a record.
 * - `order-changed`: the table was replaced or resized under a reader.
 * - `would-crash`: the real kernel would crash on this call.
 */
export type HtabState = 'closed' | 'busy' | 'lost' | 'order-changed' | 'would-crash';

/** What is known about a wrong state; the place where a write was not taken whole. */
export interface StateErrorDetails extends RecordPlace {
  readonly cause?: unknown;
}

/** The call is right in itself but not in this state; see {@link HtabState}. */
export class HtabStateError extends HtabError {
  readonly state: HtabState;
  declare readonly ptex?: number;
  declare readonly recordIndex?: number;
  declare readonly bytesApplied?: number;

  constructor(state: HtabState, message: string, details: StateErrorDetails = {}) {
    super(
      'ERR_HTAB_STATE',
      message + placeText(details),
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.state = state;
    setPlace(this, details);
  }
}

/** Why a backend cannot be had on this machine; `refused`: whoever has what was asked for does not give it. */
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
  | 'unsupported'
  | 'refused';

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

for (const errorClass of [
  HtabError,
  HtabSystemError,
  HtabFormatError,
  HtabStateError,
  HtabUnavailableError,
]) {
  register(errorClass);
}

/** True for every error class of this package, whichever copy of it made the error. */
export function isHtabError(value: unknown): value is HtabError {
  return hasBrand(value, brandOf('HtabError'));
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
