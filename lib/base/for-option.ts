/**
 * Awaits what an option asks for. If that fails, the error carries the option's name in `option`: with several files and
 * sockets, a user has to see which one it is about. The rest of the error stays.
 *
 * @param option such as `journal`
 */
export async function forOption<T>(option: string, job: Promise<T>): Promise<T> {
  try {
    return await job;
  } catch (error) {
    // An error without a code is not this job's own: a signal's reason above all, which others hold and report too.
    if (typeof (error as Partial<NodeJS.ErrnoException> | undefined)?.code === 'string') {
      (error as { option?: string }).option = option;
    }
    throw error;
  }
}

/** The option that an error is about, if it carries one. */
export function optionOf(error: unknown): string | undefined {
  const { option } = (error ?? {}) as { readonly option?: unknown };
  return error instanceof Error && typeof option === 'string' ? option : undefined;
}
