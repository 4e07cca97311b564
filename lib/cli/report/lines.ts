import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import type { Writable } from 'node:stream';

const LINES_AT_ONCE = 1000;

/**
 * Writes lines as fast as they are taken, and lets signals in between. A reader that has seen enough (`| head`) ends it, and is
 * no failure.
 *
 * @throws the signal's reason
 */
export async function writeLines(to: Writable, lines: Iterable<string>, signal: AbortSignal): Promise<void> {
  let batch: string[] = [];
  try {
    for (const line of lines) {
      if (batch.push(line) < LINES_AT_ONCE) continue;
      await write(to, batch, signal);
      batch = [];
    }
    await write(to, batch, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPIPE')) throw error;
  }
}

async function write(to: Writable, lines: readonly string[], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (lines.length === 0) return;
  // It would neither take anything any more, nor say so.
  if (to.errored !== null) throw to.errored;
  if (!to.write(`${lines.join('\n')}\n`)) await once(to, 'drain', { signal });
  else await setImmediate();
}
