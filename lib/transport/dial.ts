import type { Duplex } from 'node:stream';
import { within } from '../base/time.js';

/** How long a connection may take to be made, and the error if it takes longer. */
export interface DialOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly late: () => Error;
}

/**
 * Waits for a connection, but not for ever. One that comes later is destroyed.
 *
 * @throws the signal's reason
 */
export async function dial(
  connecting: Promise<Duplex>,
  { timeoutMs, signal, late }: DialOptions,
): Promise<Duplex> {
  try {
    return await within(connecting, timeoutMs, signal, late);
  } catch (error) {
    connecting.then(
      (channel) => channel.destroy(),
      () => undefined,
    );
    throw error;
  }
}
