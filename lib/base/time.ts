/** Longest time of a timer, in ms: one that is set for longer goes off at once. */
export const MAX_MS = 2 ** 31 - 1;

/**
 * Waits for a promise, but not for ever. What becomes of it afterwards is the caller's to care for.
 *
 * @param ms longest time; beyond {@link MAX_MS}, as the sum of two limits can be, there is none
 * @param expired makes the error once the time has passed
 * @throws the signal's reason
 */
export function within<T>(
  promise: Promise<T>,
  ms: number,
  signal: AbortSignal | undefined,
  expired: () => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    const fail = (error: unknown): void => {
      done();
      // A signal's reason is the caller's own and passed on as it is, error or not.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      reject(error);
    };
    const abort = (): void => {
      fail(signal?.reason);
    };
    const timer =
      ms > MAX_MS
        ? undefined
        : setTimeout(() => {
            fail(expired());
          }, ms);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    promise.then((value) => {
      done();
      resolve(value);
    }, fail);
  });
}

/** Time for what no outcome hangs on, in ms: a disk that hangs does not keep back what is to be told. */
const ASIDE_MS = 1000;

/** Makes a call and waits until it has settled, whatever comes of it, but not for long. Never rejects. */
export async function tryBriefly(call: () => unknown, ms = ASIDE_MS): Promise<void> {
  // A caller's own journal may throw where it should reject, and the outcome must not change by that.
  const made = (async () => {
    await call();
  })();
  await within(made, ms, undefined, () => undefined).catch(() => undefined);
}

/**
 * Lets time pass, on the global clock: tests put it forward, and `node:timers/promises` does not see that.
 *
 * @throws the signal's reason
 */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  const never = new Promise<never>(() => undefined);
  const over = Symbol('over');
  try {
    await within(never, ms, signal, () => over);
  } catch (error) {
    if (error !== over) throw error;
  }
}
