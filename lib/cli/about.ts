/**
 * Awaits what an option or an address of the command line asked for. If that fails, the message begins with its name,
 * unless it does already: of several files and sockets, the user is to see which one it is. Class, code and fields stay.
 *
 * @param subject such as `--journal`
 */
export async function about<T>(subject: string, job: Promise<T>): Promise<T> {
  try {
    return await job;
  } catch (error) {
    // What has no code is no failure of this job's own: the reason of an abort, above all, which others hold too.
    if (hasCode(error) && !error.message.startsWith(subject)) error.message = `${subject}: ${error.message}`;
    throw error;
  }
}

function hasCode(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
