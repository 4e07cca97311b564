import type { Readable, Writable } from 'node:stream';

/**
 * Destroys the stream with the signal's own reason when it aborts. (Node's `signal` option puts an `AbortError` around it.)
 *
 * The stream's `_destroy` waits for I/O in flight, so `error` and `close` come after it.
 */
export function destroyOnAbort(stream: Readable | Writable, signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  const abort = (): void => {
    stream.destroy(signal.reason as Error);
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
