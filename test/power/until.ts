import { setTimeout as sleep } from 'node:timers/promises';
import { HtabSystemError } from '../../lib/base/errors.js';

/** A look at something takes little; emulated POWER has one processor, which the guest needs too. */
const INTERVAL_MS = 100;

/**
 * Looks again and again until there is something to see.
 *
 * @param signal of the test, which limits the time
 * @returns what `look` gave, once that is not undefined
 */
export async function until<T>(
  look: () => T | undefined | Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    await sleep(INTERVAL_MS, undefined, { signal });
  }
}

/** For what connects to a process that has just been started: its socket's file is there some time before it listens. */
export function unlessNotListening(error: unknown): undefined {
  if (error instanceof HtabSystemError && ['ENOENT', 'ECONNREFUSED'].includes(error.errnoName)) return;
  throw error as Error;
}
