/** A failure, and the failure of its handling: the cause of an error that has to name both. */
export function bothErrors(error: unknown, failure: unknown): AggregateError {
  const [first, second] = [error, failure].map((each) =>
    each instanceof Error ? each.message : String(each),
  );
  return new AggregateError([error, failure], `${first!}; then: ${second!}`);
}
