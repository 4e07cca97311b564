import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Something this machine lacks; the message says what, and how to get it. */
export class MissingError extends Error {}

/**
 * Runs a command to its end and gives its standard output; a failure carries what it printed.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<string>}
 */
export async function run(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let output = '';
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
    output += text;
    printed += text;
  });
  child.stderr.setEncoding('utf8').on('data', (/** @type {string} */ text) => (printed += text));
  await once(child, 'close');
  const { exitCode } = child;
  if (exitCode !== 0)
    throw new Error(
      `${[command, ...args].join(' ')} ended with ${exitCode ?? 'a signal'}:\n${printed.trim()}`,
    );
  return output;
}

/** @param {string} line */
export const say = (line) => process.stdout.write(`power: ${line}\n`);
