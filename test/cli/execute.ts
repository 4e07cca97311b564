import { run } from '../../lib/cli/program.js';
import { captureOutput, type CapturedOutput } from './capture.js';

/** Runs a command in this process: how it ended, and what it wrote. */
export async function execute(...args: string[]): Promise<CapturedOutput & { readonly code: number }> {
  const output = captureOutput();
  const code = await run(args, output);
  return { ...output, code };
}

export const json = (output: CapturedOutput): unknown => JSON.parse(output.stdout.text);
