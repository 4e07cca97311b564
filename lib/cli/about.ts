/** Of a name that could not be resolved to an address. */
const NAME_HINTS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'nobody knows this host: is its name right, and known to the resolver of this one?',
  EAI_AGAIN: 'the name server does not answer: is it reachable?',
};

/**
 * Awaits what an option or an address of the command line asked for. If that fails, the message begins with its name,
 * unless it does already: of several files and sockets, the user is to see which one it is; and ends with what to do about
 * a host's name that nobody knows. Class, code and fields stay.
 *
 * @param subject such as `--journal`
 */
export async function about<T>(subject: string, job: Promise<T>): Promise<T> {
  try {
    return await job;
  } catch (error) {
    // An error without a code is not this job's own: a signal's reason above all, which others hold and report too.
    if (!hasCode(error)) throw error;
    const hint = NAME_HINTS[error.code];
    if (hint !== undefined) error.message += `; ${hint}`;
    if (!error.message.startsWith(subject)) error.message = `${subject}: ${error.message}`;
    throw error;
  }
}

function hasCode(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
