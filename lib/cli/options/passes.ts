import type { Command } from 'commander';
import { MAX_MS } from '../../base/time.js';
import { integerOption } from './library-option.js';

/** How a live table is read again and again. */
export interface PassOptions {
  readonly passes?: number;
  readonly intervalMs: number;
}

const MAX_PASSES = 2 ** 31 - 1;

/**
 * Gives a command `--passes` and `--interval-ms`.
 *
 * @param passes text of the first
 */
export function addPassOptions(command: Command, passes: string, range: { default?: number } = {}): Command {
  return command
    .addOption(integerOption('--passes <n>', passes, { min: 1, max: MAX_PASSES, ...range }))
    .addOption(
      integerOption('--interval-ms <ms>', 'time from the end of a pass to the next', {
        ...{ min: 0, max: MAX_MS, default: 1000 },
      }),
    );
}
