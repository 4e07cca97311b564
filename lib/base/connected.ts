import { once } from 'node:events';
import type { Socket } from 'node:net';
import { HtabSystemError } from './errors.js';
import { systemCall } from './system-call.js';
import { within } from './time.js';

/** How long a socket may take to connect, and what it tells. */
export interface ConnectingOptions {
  /** What is being done, in words. */
  readonly operation: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The event that tells that it is connected. Default: `connect`. */
  readonly event?: string;
  /** What to do where it takes too long. */
  readonly hint?: string;
}

/**
 * Waits until a socket is connected. After a failure the socket is the caller's to destroy.
 *
 * @throws HtabSystemError for what the kernel refuses, ETIMEDOUT if it takes too long
 * @throws another error of the socket; the signal's reason
 */
export async function connected(socket: Socket, options: ConnectingOptions): Promise<void> {
  const { operation, timeoutMs, signal, event = 'connect', hint } = options;
  const late = (): Error => new HtabSystemError('connect', 'ETIMEDOUT', { operation, hint });
  await within(systemCall(operation, once(socket, event)), timeoutMs, signal, late);
}
