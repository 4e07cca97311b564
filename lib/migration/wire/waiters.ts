/** What waits for something on a connection, until it has failed. */
export class Waiters {
  readonly #waiting = new Set<(error: unknown) => void>();
  readonly #ended = new AbortController();
  #failure: { readonly error: unknown } | undefined;

  /** Aborts with what ends the waits. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Waits for `start` to call what it is given, with an error or without, or for the time to pass.
   *
   * @param expired what the time's passing means; nothing: the wait is over
   */
  wait(
    timeoutMs: number,
    expired: () => Error | undefined,
    start: (settle: (error?: unknown) => void) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        if (error === undefined) resolve();
        // A signal's reason is the caller's own and passed on as it is, error or not.
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
        else reject(error);
      };
      const timer = setTimeout(
        () => {
          settle(expired());
        },
        Math.max(0, timeoutMs),
      );
      this.#waiting.add(settle);
      if (this.#failure === undefined) start(settle);
      else settle(this.#failure.error);
    });
  }

  /** Ends every wait, now and later, with this error, or an earlier one. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.end(error);
  }

  /** Lets last words be waited for after a failure. */
  forgive(): void {
    this.#failure = undefined;
  }

  /** @throws what has made it fail */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends every wait that goes on with this error. */
  end(error: unknown): void {
    this.#ended.abort(error);
    for (const settle of [...this.#waiting]) settle(error);
  }
}
