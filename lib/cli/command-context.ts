import type { Writable } from 'node:stream';
import type { Output } from './output.js';

/** What the definition of a command is given. */
export interface CommandContext {
  readonly output: Output;
  /**
   * Runs the command's job; it gives the exit code, and SIGINT, SIGTERM and SIGHUP abort its signal.
   *
   * @param failures where to print a `failed` event if it fails: with `--json` given, unless the job's own reporter does
   */
  run(job: (signal: AbortSignal) => Promise<number>, failures?: Writable): Promise<void>;
}
