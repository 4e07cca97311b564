import { errnoNumber } from './errno.js';

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

/** What any error may carry. */
export interface HtabErrorOptions extends ErrorOptions {
  readonly option?: string | undefined;
}

/** Base of every error that is not a mistake of the caller's code (those are `TypeError` and `RangeError`). */
export class HtabError extends Error {
  readonly code: HtabErrorCode;
  /** Name of the option that the error is about, such as `maxOrder`, if it is about one. */
  declare option?: string;

  constructor(code: HtabErrorCode, message: string, options: HtabErrorOptions = {}) {
    // Not passed on as undefined: it would show as a field.
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options.option !== undefined) this.option = options.option;
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

/** The kernel refused a call; the same class and fields from every backend. */
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
      details,
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
  /** The place as the message has it, instead of the record and its byte; nothing for ''. */
  readonly place?: string | undefined;
  /** Name of the section of a QEMU stream; `byteOffset` then counts from the start of QEMU's stream. */
  readonly section?: string | undefined;
  readonly cause?: unknown;
  readonly option?: string | undefined;
}

/**
 * Damaged or hostile bytes. Records before the one named here are right; of it, at most parts that came in earlier chunks
 * have been handed out.
 */
export class HtabFormatError extends HtabError {
  readonly byteOffset: number;
  readonly recordIndex: number;
  declare readonly ptex?: number;
  /** Name of the section of a QEMU stream. */
  declare readonly section?: string;

  constructor(message: string, details: FormatErrorDetails) {
    const { byteOffset, recordIndex, ptex, section } = details;
    const entry = ptex === undefined ? '' : `, ptex ${ptex}`;
    const part = section === undefined ? `record ${recordIndex}` : `section ${section}`;
    const { place = `${part} at byte ${byteOffset}${entry}` } = details;
    super('ERR_HTAB_FORMAT', place === '' ? message : `${message} (${place})`, details);
    this.byteOffset = byteOffset;
    this.recordIndex = recordIndex;
    if (ptex !== undefined) this.ptex = ptex;
    if (section !== undefined) this.section = section;
  }
}

/**
 * Why an object cannot do what was asked.
 *
 * - `closed`: it is being closed, or has been.
 * - `busy`: another operation or another reader uses it.
 * - `lost`: something is gone for good. A reader lost changes, and needs a new first pass; an encoder's sink threw; an
 *   image's memory was transferred away; a write took only a part of a record.
 * - `order-changed`: the table has another order than expected: it was replaced or resized under a reader, or the order
 *   given for a descriptor is wrong.
 * - `replaced`: another table of this order is there: the guest was reset or resized it, or another reader took its changes.
 * - `in-use`: the VMM migrates its guest, or another program reads its table: two readers take changes from each other.
 * - `would-crash`: the real kernel would crash on this call.
 */
export type HtabState = 'closed' | 'busy' | 'lost' | 'order-changed' | 'replaced' | 'in-use' | 'would-crash';

/** What is known about a wrong state; the place of a record that was written in part. */
export interface StateErrorDetails extends RecordPlace {
  readonly cause?: unknown;
  readonly option?: string | undefined;
}

/** The call is right in itself but not in this state; see {@link HtabState}. */
export class HtabStateError extends HtabError {
  readonly state: HtabState;
  declare readonly ptex?: number;
  declare readonly recordIndex?: number;
  declare readonly bytesApplied?: number;

  constructor(state: HtabState, message: string, details: StateErrorDetails = {}) {
    super('ERR_HTAB_STATE', message + placeText(details), details);
    this.state = state;
    setPlace(this, details);
  }
}

/**
 * Why a backend or a feature is not available; `refused`: the process or kernel that has it does not give it. Of a VMM
 * opened from outside: `no-thread` waits in a system call, `traced` by another program, a `seccomp` filter might kill it.
 */
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
  | 'no-process'
  | 'no-vm'
  | 'several-vms'
  | 'no-thread'
  | 'traced'
  | 'seccomp'
  | 'unsupported'
  | 'refused';

/** A backend or a feature is not available; `hint` says what to do about it. */
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

/**
 * True for every error class of this package, whichever copy of it made the error.
 *
 * @example
 * if (isHtabError(error) && error.code === 'ERR_HTAB_IN_DOUBT') keepStopped();
 */
export function isHtabError(value: unknown): value is HtabError {
  return hasBrand(value, brandOf('HtabError'));
}
