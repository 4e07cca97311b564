import { HtabStateError } from '../base/errors.js';
import { within } from '../base/time.js';
import { migrationError } from './errors.js';
import type { DestinationRest, SourceRest } from './rest.js';

type Rest = SourceRest | DestinationRest;

/** The last call of an agent's, until it has settled: it may outlive the connection, and the migration, that made it. */
const unsettled = new WeakMap<Rest, Promise<unknown>>();

/**
 * Makes a call of an agent's that takes as long as its connection lasts. A function that throws, or gives no promise, is as
 * good as one that rejects or resolves.
 *
 * @param name of the function, for errors
 * @returns what the call resolves with; rejects with HtabError `ERR_HTAB_MIGRATION`, whatever it rejects with: what an agent
 *   fails with says nothing about this connection or this table
 */
export async function callRest<T>(rest: Rest, name: string, call: () => T | Promise<T>): Promise<T> {
  const made = (async () => call())();
  unsettled.set(rest, made);
  try {
    return await made;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw migrationError(`rest.${name} failed: ${reason}`, error);
  } finally {
    if (unsettled.get(rest) === made) unsettled.delete(rest);
  }
}

/**
 * Waits until the last call has settled, however it did.
 *
 * @throws HtabStateError `busy` if it has not by then
 */
export async function restSettled(rest: Rest, name: string, timeoutMs: number): Promise<void> {
  const made = unsettled.get(rest);
  if (made === undefined) return;
  const settled = made.then(
    () => undefined,
    () => undefined,
  );
  await within(settled, timeoutMs, undefined, () => {
    const found = `an earlier call of rest.${name} did not end within ${timeoutMs} ms after its signal had aborted`;
    return new HtabStateError('busy', `${found}; it must end soon then`);
  });
}
