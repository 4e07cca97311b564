/**
 * Awaits what an option or an address of the command line asked for. Puts its name before the message of a failure that
 * does not begin with it: the user has given several files and sockets. The error stays the same object, with its code.
 *
 * @param subject such as `--journal`
 */
export async function about<T>(subject: string, job: Promise<T>): Promise<T> {
  try {
    return await job;
  } catch (error) {
    // An error without a code is not this job's own: a signal's reason above all, which others hold and report too.
    if (hasCode(error) && !error.message.startsWith(subject)) error.message = `${subject}: ${error.message}`;
    throw error;
  }
}

function hasCode(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
