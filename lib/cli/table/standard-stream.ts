import { UsageError } from '../errors/usage-error.js';
import type { Output } from '../output.js';

/** The file name for standard output, or input. */
export const STANDARD_STREAM = '-';

/** What a command reads. */
export function inputOf(file: string): string | AsyncIterable<Uint8Array> {
  return file === STANDARD_STREAM ? process.stdin : file;
}

/** Its name, for messages. */
export function inputName(file: string): string {
  return file === STANDARD_STREAM ? 'standard input' : file;
}

/** What a command writes its data to: nothing else may be printed there. */
export function outputOf(file: string, output: Output): string | Output['stdout'] {
  if (file !== STANDARD_STREAM) return file;
  checkDataOutput(output);
  return output.stdout;
}

/** Where the result is printed: not where the snapshot goes. */
export function resultOutput(file: string, { stdout, stderr }: Output): Output['stdout'] {
  return file === STANDARD_STREAM ? stderr : stdout;
}

/** @throws UsageError if the data would be mixed with messages, or go to a terminal */
export function checkDataOutput({ stdout, stderr }: Output): void {
  if (stdout.isTTY === true)
    throw new UsageError('binary data is not for a terminal: redirect standard output');
  if (stdout === stderr)
    throw new UsageError(
      'standard output and error are one file: redirect one of them, the data would be mixed',
    );
}
