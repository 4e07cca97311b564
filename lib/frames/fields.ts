/** Whether a value that came from elsewhere is one that a field may have. */
export type FieldCheck = (value: unknown) => boolean;

/** A check for each field of `T`. */
export type FieldChecks<T> = { readonly [Name in keyof T]-?: FieldCheck };

/** An integer that counts something: 0..2^53 - 1. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
/** A text of at most 1024 characters. */
export const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 1024;
export const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
/** What `digestTable` gives. */
export const isDigest = (value: unknown): value is string =>
  typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

/** An integer in `min..max`. */
export function isWithin(min: number, max: number): FieldCheck {
  return (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

/** One of these values. */
export function isOneOf(...values: readonly unknown[]): FieldCheck {
  return (value) => values.includes(value);
}

/** A field that may be left out. */
export function isOptional(check: FieldCheck): FieldCheck {
  return (value) => value === undefined || check(value);
}

/** Fields as the JSON object that a frame carries them in. */
export function encodeFields(fields: object): Buffer {
  return Buffer.from(JSON.stringify(fields));
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The JSON object in a payload, with nothing known about its fields; undefined if it is anything else, or no UTF-8. */
export function parseFields(payload: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(payload));
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The fields that are wanted, each checked; one that is not there is `undefined` to its check. Others are left out: a
 * later version may have more.
 *
 * @param refuse makes the error for a field that is missing or not as it must be
 */
export function pickFields<T>(
  fields: Readonly<Record<string, unknown>>,
  checks: FieldChecks<T>,
  refuse: (name: string) => Error,
): T {
  const picked = Object.entries<FieldCheck>(checks).flatMap(([name, check]) => {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (!check(value)) throw refuse(name);
    return value === undefined ? [] : [[name, value]];
  });
  // Exactly the fields of T, each checked.
  return Object.fromEntries(picked) as T;
}
