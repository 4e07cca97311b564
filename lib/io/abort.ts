import type { Readable, Writable } from 'node:stream';

/**
 * Destroys the stream with the signal's own reason when it aborts, or with an `AbortError` around a reason that is no
 * Error: a stream destroyed with null or 0 ends as if nothing had happened. (Node's `signal` option puts an `AbortError`
 * around every reason.)
 *
 * The stream's `_destroy` waits for I/O in flight, so `error` and `close` come after it.
 */
export function destroyOnAbort(stream: Readable | Writable, signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  const abort = (): void => {
    const reason: unknown = signal.reason;
    stream.destroy(reason instanceof Error ? reason : abortError(reason));
  };
  if (signal.aborted) {
    abort();
    return;
  }
  signal.addEventListener('abort', abort, { once: true });
  stream.once('close', () => {
    signal.removeEventListener('abort', abort);
  });
}

function abortError(cause: unknown): Error {
  return new DOMException('This operation was aborted', { name: 'AbortError', cause });
}
