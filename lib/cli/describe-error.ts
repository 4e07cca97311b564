/** What is said of an error: its message, and those of what caused it as far as they add something. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const causes = error instanceof AggregateError ? (error.errors as unknown[]) : [error.cause];
  const added = causes
    .filter((cause) => cause !== undefined)
    .map(describeError)
    .filter((text) => text !== '' && !error.message.includes(text));
  return [error.message, ...added].filter((text) => text !== '').join(': ');
}
