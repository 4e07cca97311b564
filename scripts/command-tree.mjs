// The command line as it is compiled, for what is generated from it.
import { Writable } from 'node:stream';

/**
 * A compiled module. Its types come from lib/, which is there before anything is compiled.
 *
 * @param {string} name
 * @returns {Promise<unknown>}
 */
export const compiled = (name) => import(new URL(`../dist/${name}.js`, import.meta.url).href);

/** @returns {Promise<import('commander').Command>} */
export async function commandTree() {
  const { defineProgram } = /** @type {typeof import('../lib/cli/program.js')} */ (
    await compiled('cli/program')
  );
  const nowhere = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  return defineProgram({ output: { stdout: nowhere, stderr: nowhere }, run: () => Promise.resolve() });
}

/**
 * The text that a command's help has after its options.
 *
 * @param {import('commander').Command} command
 */
export function notesOf(command) {
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text.slice(command.helpInformation().length).trim();
}
