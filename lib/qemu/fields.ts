/** The fields of a part of JSON that should be an object; none of one that is not. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** A field that should be a text. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
