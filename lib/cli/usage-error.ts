/** The command line asks for something that cannot be: said to the user as it is, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
